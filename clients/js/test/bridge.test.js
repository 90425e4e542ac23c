// The client against a real bridge.

import assert from "node:assert/strict";
import {after, afterEach, before, beforeEach, test} from "node:test";

import {connect} from "../rowcast.js";
import {Bridge, WebSocket, until} from "./support/bridge.js";

let bridge, live, sockets;

class Counted extends WebSocket {
  constructor(...given) {
    super(...given);
    sockets++;
  }
}

// As it is where a proxy does not let them through.
class Blocked {
  constructor() {
    sockets++;
    setTimeout(() => this.onclose({code: 1006, reason: ""}));
  }

  close() {}
}

before(async () => (bridge = await Bridge.reach()));
after(() => bridge.close());

beforeEach(async () => {
  await bridge.sql("TRUNCATE items");
  await bridge.sql("INSERT INTO items VALUES (1, 'a', 10), (2, 'a', 20), (3, 'b/ü', 30)");
  sockets = 0;
  live = connect(bridge.url, {WebSocket: Counted});
});
afterEach(() => live.close());

const numbers = (rows) => rows.map(({id, n}) => [id, n]);
const equal = (expected) => (rows) =>
  JSON.stringify(numbers(rows)) === JSON.stringify(expected);
const table = async () => numbers((await bridge.sql("SELECT id, n FROM items ORDER BY id")).map(([id, n]) => ({id, n})));
const settled = async (view) => until(view, equal(await table()));

test("rows are what the table holds, in the order of their keys", async () => {
  const rows = live.rows("items");
  await settled(rows);
  await bridge.sql("UPDATE items SET n = n + 1 WHERE id < 3");
  await bridge.sql("DELETE FROM items WHERE id = 2");
  await bridge.sql("INSERT INTO items VALUES (10, 'a', 1), (4, 'a', 4)");
  await settled(rows);
});

test("a row is null when it does not exist, and again when it is gone", async () => {
  const row = live.row("items/{id}", {id: 7});
  await until(row, (row) => row === null);
  await bridge.sql("INSERT INTO items VALUES (7, 'a', 70)");
  await until(row, (row) => row?.n === 70);
  await bridge.sql("DELETE FROM items WHERE id = 7");
  await until(row, (row) => row === null);
});

test("values of a template are percent-encoded", async () => {
  const rows = live.rows("groups/{grp}/items", {grp: "b/ü"});
  assert.equal(rows.topic, "groups/b%2F%C3%BC/items");
  await until(rows, equal([[3, 30]]));
});

test("a row that moves leaves the one topic and comes into the other", async () => {
  const [from, to] = [live.rows("groups/a/items"), live.rows("groups/c/items")];
  await Promise.all([until(from, equal([[1, 10], [2, 20]])), until(to, equal([]))]);
  await bridge.sql("UPDATE items SET grp = 'c' WHERE id = 1");
  await Promise.all([until(from, equal([[2, 20]])), until(to, equal([[1, 10]]))]);
});

test("an array that was handed out is never changed", async () => {
  const seen = [];
  const end = live.rows("items").subscribe((rows) => seen.push([rows, JSON.stringify(rows)]));
  await settled(live.rows("items"));
  await bridge.sql("UPDATE items SET n = 99");
  await settled(live.rows("items"));
  end();
  assert.ok(seen.length > 1);
  for (const [rows, text] of seen) assert.equal(JSON.stringify(rows), text);
});

test("integers past 2^53 are exact, and so are the keys of two such rows", async () => {
  await bridge.sql("INSERT INTO items VALUES (9007199254740992, 'a', 1), (9007199254740993, 'a', 2)");
  const rows = await until(live.rows("items"), (rows) => rows.length === 5);
  assert.deepEqual(numbers(rows.slice(3)), [["9007199254740992", 1], ["9007199254740993", 2]]);
});

test("there is one socket however many subscribers", async () => {
  const views = [live.rows("items"), live.rows("items"), live.row("items/1"), live.row("items/2")];
  await Promise.all(views.map((view) => until(view, () => true)));
  assert.equal(sockets, 1);
});

test("when the last subscriber has gone there is no connection, and the next opens one", async () => {
  await settled(live.rows("items"));
  await until(live, (status) => status === "idle");
  assert.equal(live.rows("items").value, undefined);
  await settled(live.rows("items"));
  assert.equal(sockets, 2);
});

test("a topic that is refused says why, and hinders no other", async () => {
  const refused = live.rows("nothing");
  await assert.rejects(until(refused, () => true), {name: "RowcastError", code: "unknown_topic", topic: "nothing"});
  await settled(live.rows("items"));
});

test("rows are right again after the bridge was killed", async () => {
  const states = [];
  live.subscribe((status) => states.push(status));
  const end = live.rows("items").subscribe(() => {});
  await until(live, (status) => status === "live");
  await bridge.kill();
  await until(live, (status) => status === "stale");
  assert.equal(live.rows("items").value.length, 3);
  await bridge.sql("DELETE FROM items WHERE id = 1");
  await bridge.sql("INSERT INTO items VALUES (8, 'a', 80)");
  await bridge.start();
  await until(live, (status) => status === "live");
  assert.deepEqual(numbers(live.rows("items").value), await table());
  end();
  assert.deepEqual(states.slice(0, 5), ["idle", "connecting", "live", "stale", "live"]);
});

test("Server-Sent Events bring the same where no WebSocket gets through", async () => {
  live.close();
  live = connect(bridge.url, {WebSocket: Blocked});
  const end = live.rows("items").subscribe(() => {});
  await settled(live.rows("items"));
  await until(live.row("items/{id}", {id: 2}), (row) => row?.n === 20);
  await bridge.sql("UPDATE items SET n = 21 WHERE id = 2");
  await settled(live.rows("items"));
  await bridge.kill();
  await until(live, (status) => status === "stale");
  await bridge.sql("DELETE FROM items WHERE id = 2");
  await bridge.start();
  await settled(live.rows("items"));
  end();
});

test("over Server-Sent Events, too, a topic that is refused says why", async () => {
  live.close();
  live = connect(bridge.url, {WebSocket: null});
  await assert.rejects(until(live.rows("nothing"), () => true), {code: "unknown_topic"});
  await assert.rejects(until(live.rows("other"), () => true), {code: "unknown_topic"});
  await settled(live.rows("items"));
});
