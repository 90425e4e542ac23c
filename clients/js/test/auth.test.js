// Tokens, against a real bridge that asks for them.

import assert from "node:assert/strict";
import {after, afterEach, before, test} from "node:test";

import {connect} from "../rowcast.js";
import {Bridge, WebSocket, until} from "./support/bridge.js";

let bridge, live;

before(async () => (bridge = await Bridge.reach()));
after(() => bridge.close());
afterEach(() => live.close());

const token = (seconds, group = "a") => bridge.ask("token", JSON.stringify({seconds, group}));
const there = (rows) => rows.length === 2;

for (const [title, Socket] of [["over a WebSocket", WebSocket], ["over Server-Sent Events", null]]) {
  test(`a topic is followed with a token that is renewed again and again, ${title}`, async () => {
    let made = 0;
    let asked = 0;
    let third;
    const enough = new Promise((resolve) => (third = resolve));
    class Counted extends WebSocket {
      constructor(...given) {
        super(...given);
        made++;
      }
    }
    live = connect(bridge.url, {
      WebSocket: Socket && Counted,
      token: () => (++asked === 3 && third(), token(2)),
    });
    const end = live.rows("groups/a/items").subscribe(() => {});
    await enough;
    await bridge.sql("UPDATE items SET n = n + 1");
    const [[n]] = await bridge.sql("SELECT n FROM items WHERE id = 1");
    await until(live.rows("groups/a/items"), ([first]) => first.n === n);
    // The third token came when the first had ended: its line is kept.
    assert.equal(made, Socket ? 1 : 0);
    end();
  });

  test(`a topic that no rule allows is refused, ${title}`, async () => {
    live = connect(bridge.url, {WebSocket: Socket, token: () => token(60)});
    const refused = until(live.rows("groups/b/items"), () => true);
    await assert.rejects(refused, {code: "forbidden", topic: "groups/b/items"});
    await until(live.rows("groups/a/items"), there);
  });
}

test("a token that is not valid ends it for good", async () => {
  live = connect(bridge.url, {WebSocket, token: "e30.e30.c2ln"});
  await assert.rejects(until(live.rows("groups/a/items"), there), {code: 4500});
  assert.equal(live.error.code, 4500);
  await until(live, (status) => status === "closed");
});

test("over Server-Sent Events a token that is not valid is said to be one", async () => {
  live = connect(bridge.url, {WebSocket: null, token: "e30.e30.c2ln"});
  await assert.rejects(until(live.rows("groups/a/items"), there), {code: "unauthenticated"});
});
