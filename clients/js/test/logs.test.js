// Events, against a real bridge with a log table and published events.

import assert from "node:assert/strict";
import {after, afterEach, before, beforeEach, test} from "node:test";

import {connect} from "../rowcast.js";
import {Bridge, WebSocket, until} from "./support/bridge.js";

let bridge, live, heard, lines, topic, offset;
let account = 0;

// Looks at all that is said: the parser is the client's own place for that.
const parse = (text) => {
  const message = JSON.parse(text);
  heard.push(message);
  return message;
};

function dial(WebSocket, more = {parse}) {
  const line = connect(bridge.url, {WebSocket, ...more});
  lines.push(line);
  return line;
}

before(async () => (bridge = await Bridge.reach()));
after(() => bridge.close());
beforeEach(async () => {
  // A log keeps what tests before this one wrote, so each has an account of its own.
  topic = `payments/${++account}`;
  [[offset]] = await bridge.sql("SELECT coalesce(max(id), 0) FROM payments");
  [heard, lines] = [[], []];
});
afterEach(() => lines.forEach((line) => line.close()));

const pay = (count) =>
  bridge.sql(`INSERT INTO payments (account) SELECT ${account} FROM generate_series(1, ${count})`);
const from = (first, last) => Array.from({length: last - first + 1}, (_, n) => first + n);
const count = (type) => heard.filter((message) => message.type === type).length;
const answers = (topic) =>
  heard.filter((message) => message.type === "subscribed" && message.topic === topic).length;

/** The numbers of the next events' rows: 1 is the first that this test wrote. */
async function ids(events, many) {
  const taken = [];
  while (taken.length < many) taken.push((await events.next()).value.row.id - offset);
  return taken;
}

/** A reader that begins with what is written from here on, and its first event. */
async function following(topic) {
  const before = answers(topic);
  const events = live.events(topic);
  const first = events.next();
  first.catch(() => {});
  // The bridge says where "now" is; the line may have been live for another reader.
  while (answers(topic) === before) await bridge.sql("SELECT 1");
  await until(live, (status) => status === "live");
  return [events, first];
}

for (const [over, Socket] of [["a WebSocket", WebSocket], ["Server-Sent Events", null]]) {
  test(`from now on, from the start, behind a position or a cursor, over ${over}`, async () => {
    live = dial(Socket);
    await pay(3);
    const before = live.events(topic, {since: "start"});
    await ids(before, 3); // and so they are settled, which "now" is a matter of
    await before.return();
    const [events, first] = await following(topic);
    await pay(2);
    const {type, topic: told, table, key, row, position, cursor} = (await first).value;
    const id = offset + 4;
    assert.deepEqual([type, told, table, key, position], ["event", topic, "payments", {id}, id]);
    assert.deepEqual(row, {id, account});
    assert.deepEqual(await ids(events, 1), [5]);
    await events.return();

    assert.deepEqual(await ids(live.events(topic, {since: "start"}), 5), from(1, 5));
    for (const position of [offset + 3, String(offset + 3)])
      assert.deepEqual(await ids(live.events(topic, {since: {position}}), 2), [4, 5]);
    const later = live.events(topic, {since: cursor});
    await pay(1);
    assert.deepEqual(await ids(later, 2), [5, 6]);
  });

  test(`once and in order, though the bridge is killed, over ${over}`, async () => {
    live = dial(Socket);
    const [events, first] = await following(topic);
    await pay(2);
    assert.equal((await first).value.row.id, offset + 1);
    await bridge.kill();
    await until(live, (status) => status === "stale");
    await pay(2);
    await bridge.start();
    assert.deepEqual(await ids(events, 3), [2, 3, 4]);
    await pay(1);
    assert.deepEqual(await ids(events, 1), [5]);
    assert.equal(count("event"), 5);
  });

  test(`what is not kept any more is said to be missing, over ${over}`, async () => {
    live = dial(Socket);
    const lost = {name: "RowcastError", code: "not_resumed", topic};
    await assert.rejects(live.events(topic, {since: "l.0.0.0"}).next(), lost);
    const [events, first] = await following(topic);
    await pay(1);
    await first;
    // As after a restored backup.
    await bridge.sql("UPDATE rowcast.log_about SET identity = gen_random_uuid()::text");
    await pay(1);
    await assert.rejects(events.next(), lost);
    assert.equal((await events.next()).done, true);
  });

  test(`who reads slowly keeps little, holds up nobody and misses nothing, over ${over}`, async () => {
    live = dial(Socket);
    await pay(6_000);
    const slow = live.events(topic, {since: "start"});
    assert.deepEqual(await ids(slow, 1), [1]);
    const quick = dial(Socket, {}).events(topic, {since: "start"});
    assert.deepEqual(await ids(quick, 6_000), from(1, 6_000));
    // The bridge was not asked for more than the reader keeps, and what was under way.
    assert.ok(count("event") < 6_000, String(count("event")));
    assert.equal(live.status, "live");
    await pay(1);
    assert.deepEqual(await ids(slow, 6_000), from(2, 6_001));
    // A stream that is not read loses nothing on its way.
    if (!Socket) assert.equal(count("event"), 6_001);
  });

  test(`events that cannot be read are told, and one can go on behind them, over ${over}`, async () => {
    live = dial(Socket);
    const [, first] = await following("refunds");
    await bridge.sql("ALTER TABLE refunds RENAME id TO number");
    await bridge.sql("INSERT INTO refunds DEFAULT VALUES");
    await bridge.sql("ALTER TABLE refunds RENAME number TO id");
    await assert.rejects(first, {code: "unavailable", topic: "refunds"});
    const {cursor} = await first.catch((error) => error);
    const [[id]] = await bridge.sql("INSERT INTO refunds DEFAULT VALUES RETURNING id");
    const {value} = await live.events("refunds", {since: cursor}).next();
    assert.deepEqual(value.row, {id});
  });

  test(`a log has no rows, and what has rows no events, over ${over}`, async () => {
    live = dial(Socket);
    await assert.rejects(until(live.rows(topic), () => true), {code: "log", topic});
    await assert.rejects(live.events("items").next(), {code: "not_a_log", topic: "items"});
  });

  test(`all readers end with the connection, over ${over}`, async () => {
    live = dial(Socket);
    const [, first] = await following(topic);
    const second = live.events(topic, {since: "start"});
    await pay(1);
    assert.equal((await first).value.row.id, offset + 1);
    assert.deepEqual(await ids(second, 1), [1]);
    const next = second.next();
    live.close();
    assert.equal((await next).done, true);
  });

  test(`published events, over ${over}`, async () => {
    live = dial(Socket);
    const [, first] = await following("events/orders%2F1");
    await bridge.sql(`SELECT rowcast.publish('orders/2', '2'), rowcast.publish('orders/1', '{"total": 1}')`);
    const {row} = (await first).value;
    assert.deepEqual([row.channel, row.data], ["orders/1", {total: 1}]);
  });
}

test("one who stops while it has enough, and begins again at once, is heard", async (t) => {
  const complaints = t.mock.method(console, "error", () => {});
  live = dial(WebSocket);
  live.rows("items").subscribe(() => {});
  await pay(1_500);
  const events = live.events(topic, {since: "start"});
  await events.next();
  while (!count("unsubscribed")) await bridge.sql("SELECT 1");
  await events.return();
  assert.deepEqual(await ids(live.events(topic, {since: "start"}), 1_500), from(1, 1_500));
  assert.equal(complaints.mock.callCount(), 0);
});
