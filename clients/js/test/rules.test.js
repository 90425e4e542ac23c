// What happens too rarely with a real bridge: late messages, odd ends, long waits.

import assert from "node:assert/strict";
import {beforeEach, test} from "node:test";

import {RowcastError, connect} from "../rowcast.js";
// Loaded when needed, which here must not take longer than a turn of the loop.
import "../rowcast-events.js";
import "../rowcast-sse.js";
import {Clock, change, fakeWebSocket, row, snapshot, subscribed} from "./support/fakes.js";

let WebSocket, clock;

beforeEach(() => (WebSocket = fakeWebSocket()));

async function following(t, options = {}, topic = "items") {
  clock = new Clock().install(t);
  t.mock.method(Math, "random", () => 1);
  const live = connect("http://bridge", {WebSocket, ...options});
  const seen = [];
  const errors = [];
  const end = live.rows(topic).subscribe((rows) => seen.push(rows.map(({id, n}) => [id, n])), (error) => errors.push(error));
  t.after(() => live.close());
  await clock.pass();
  return {live, seen, errors, end};
}

async function opened(t, options, topic = "items") {
  const all = await following(t, options, topic);
  WebSocket.line.open();
  return all;
}

async function says(...messages) {
  WebSocket.line.says(...messages);
  await clock.pass();
}

const last = (list) => list.at(-1);

test("a message that is older than what is held is not applied", async (t) => {
  const {seen} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10), row(2, 20)]));
  await says(change("items", "4", 1, 99), change("items", "4", 3, 99));
  assert.deepEqual(last(seen), [[1, 10], [2, 20]]);
  await says(change("items", "5", 1, 11), change("items", "7", 2, 21), change("items", "6", 2, 22));
  assert.deepEqual(last(seen), [[1, 11], [2, 21]]);
});

test("a deleted row does not come back by an older message", async (t) => {
  const {seen} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10)]));
  await says(change("items", "8", 1, null), change("items", "7", 1, 99));
  assert.deepEqual(last(seen), []);
  await says(change("items", "9", 1, 12));
  assert.deepEqual(last(seen), [[1, 12]]);
});

test("a snapshot replaces all that was held, once its last page is there", async (t) => {
  const {seen} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10), row(2, 20)]));
  await says(change("items", "9", 1, null));
  await says(snapshot("items", "7", [row(3, 30)], {last: false}));
  assert.deepEqual(last(seen), [[2, 20]]);
  await says(snapshot("items", "7", [row(1, 11)], {first: false}));
  assert.deepEqual(last(seen), [[1, 11], [3, 30]]);
});

test("messages that come together make one call", async (t) => {
  const {seen} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10)]));
  await says(change("items", "6", 1, 11), change("items", "6", 2, 20), change("items", "7", 1, 12));
  assert.deepEqual(seen, [[[1, 10]], [[1, 12], [2, 20]]]);
});

test("keys of several columns are told apart, and are the order", async (t) => {
  const {seen} = await opened(t);
  const keyed = (a, b, n) => ({key: {a, b}, row: {id: `${a}-${b}`, n}});
  await says(snapshot("items", "5", [keyed(2, "x", 3), keyed(1, "y", 2), keyed(10, "a", 4), keyed(1, "x", 1)]));
  assert.deepEqual(last(seen), [["1-x", 1], ["1-y", 2], ["2-x", 3], ["10-a", 4]]);
});

test("unknown messages and fields are ignored", async (t) => {
  const {seen, live} = await opened(t);
  await says({type: "novelty", topic: "items"}, {type: "novelty"}, subscribed("other"));
  await says(subscribed("items", false, {more: 1}), snapshot("items", "5", [row(1, 10)], {more: 1}));
  assert.deepEqual(last(seen), [[1, 10]]);
  assert.equal(live.status, "live");
});

test("it is live only while every topic is up to date and the bridge has its database", async (t) => {
  const {live} = await opened(t);
  live.row("items/1").subscribe(() => {});
  await says(subscribed("items"), snapshot("items", "5", []));
  assert.equal(live.status, "live");
  await says({type: "status", state: "stale"});
  assert.equal(live.status, "stale");
  await says({type: "status", state: "live"});
  assert.equal(live.status, "live");
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  await says(subscribed("items"), snapshot("items", "6", []));
  assert.equal(live.status, "stale");
  await says(subscribed("items/1"), snapshot("items/1", "6", []));
  assert.equal(live.status, "live");
});

test("it comes back after a random delay, whose limit doubles up to half a minute", async (t) => {
  await following(t);
  const delays = [];
  for (let n = 0; n < 9; n++) {
    const before = clock.now;
    const {length} = WebSocket.lines;
    WebSocket.line.ends(1006);
    // Some attempts are made by other means, which fail in the same way here.
    t.mock.method(globalThis, "fetch", () => Promise.reject(new Error("refused")));
    while (WebSocket.lines.length === length) await clock.pass(500);
    delays.push(clock.now - before);
  }
  assert.deepEqual(delays.slice(0, 2), [500, 1000 + 2000]);
  assert.ok(delays.at(-1) <= 60_000 && delays.at(-1) >= 30_000, String(delays));
});

test("a limit that has grown is small again once a topic is followed", async (t) => {
  await opened(t);
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  WebSocket.line.ends(1012);
  await clock.pass(999);
  assert.equal(WebSocket.lines.length, 2);
  await clock.pass(1);
  WebSocket.line.open();
  await says(subscribed("items"), snapshot("items", "5", []));
  WebSocket.line.ends(1012);
  await clock.pass(500);
  assert.equal(WebSocket.lines.length, 4);
});

test("it waits for as long as the bridge asks", async (t) => {
  await opened(t);
  WebSocket.line.ends(4429, "too many connections; retry_after=7");
  await clock.pass(7_400);
  assert.equal(WebSocket.lines.length, 1);
  await clock.pass(200);
  assert.equal(WebSocket.lines.length, 2);
});

for (const code of [4500, 4503]) {
  test(`it does not come back after ${code}, and says why`, async (t) => {
    const {live, errors} = await opened(t);
    WebSocket.line.ends(code, "bad token");
    await clock.pass(100_000);
    assert.equal(WebSocket.lines.length, 1);
    assert.equal(live.status, "closed");
    assert.ok(live.error instanceof RowcastError);
    assert.deepEqual([live.error.code, live.error.message], [code, "bad token"]);
    assert.deepEqual(errors, [live.error]);
    const late = [];
    live.row("items/1").subscribe(() => {}, (error) => late.push(error));
    await clock.pass(1000);
    assert.equal(WebSocket.lines.length, 1);
  });
}

for (const code of [1001, 1006, 1009, 1011, 1012, 4401, 4408, 4429]) {
  test(`it comes back after ${code}`, async (t) => {
    await opened(t);
    WebSocket.line.ends(code);
    await clock.pass(500);
    assert.equal(WebSocket.lines.length, 2);
  });
}

test("a silent link is asked, and given up if it does not answer", async (t) => {
  const {live} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", []));
  await clock.pass(25_000);
  assert.deepEqual(last(WebSocket.line.sent), {type: "ping"});
  await says({type: "pong"});
  await clock.pass(25_000 + 9_900);
  assert.equal(live.status, "live");
  await clock.pass(100);
  assert.equal(live.status, "stale");
  assert.ok(WebSocket.lines[0].closed);
});

test("a connection that never opens is given up", async (t) => {
  await following(t);
  await clock.pass(10_500);
  assert.ok(WebSocket.lines[0].closed);
  assert.equal(WebSocket.lines.length, 2);
});

test("it does not wait when the network is back, or somebody looks at the page", async (t) => {
  const page = new EventTarget();
  const window = new EventTarget();
  for (const name of ["addEventListener", "removeEventListener"])
    globalThis[name] = window[name].bind(window);
  globalThis.document = page;
  t.after(() => {
    for (const name of ["addEventListener", "removeEventListener", "document"])
      delete globalThis[name];
  });
  const {live} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", []));
  window.dispatchEvent(new Event("offline"));
  assert.deepEqual(last(WebSocket.line.sent), {type: "ping"});
  await clock.pass(10_000);
  assert.equal(live.status, "stale");
  window.dispatchEvent(new Event("online"));
  await clock.pass();
  assert.equal(WebSocket.lines.length, 2);
  WebSocket.line.ends(1006);
  page.hidden = true;
  page.dispatchEvent(new Event("visibilitychange"));
  await clock.pass();
  assert.equal(WebSocket.lines.length, 2);
  page.hidden = false;
  page.dispatchEvent(new Event("visibilitychange"));
  await clock.pass();
  assert.equal(WebSocket.lines.length, 3);
  live.close();
  page.dispatchEvent(new Event("visibilitychange"));
  await clock.pass();
  assert.equal(WebSocket.lines.length, 3);
});

test("what a line says that was given up is not heard", async (t) => {
  const {seen} = await opened(t);
  const [old] = WebSocket.lines;
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10)]));
  await clock.pass(36_000);
  WebSocket.line.open();
  await says(subscribed("items"), snapshot("items", "6", [row(1, 11)]));
  old.says(snapshot("items", "4", [row(1, 9)]));
  old.ends(4500);
  await clock.pass();
  assert.deepEqual(last(seen), [[1, 11]]);
});

test("a topic with a cursor is resumed, one whose snapshot is not whole begins anew", async (t) => {
  const {live, seen} = await opened(t);
  live.rows("other").subscribe(() => {});
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10), row(2, 20)], {cursor: "c5"}));
  await says(change("items", "6", 1, 11, {cursor: "c6"}));
  await says(subscribed("other"), snapshot("other", "5", [], {last: false, cursor: "o5"}));
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  assert.deepEqual(WebSocket.line.sent, [
    {type: "subscribe", topic: "items", since: "c6"},
    {type: "subscribe", topic: "other"},
  ]);
  await says(subscribed("items", true, {cursor: "c6b"}), subscribed("other"), snapshot("other", "6", []));
  assert.equal(live.status, "live");
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  assert.equal(WebSocket.line.sent[0].since, "c6b");
  await says(subscribed("items", true), change("items", "7", 2, null, {cursor: "c7"}));
  assert.deepEqual(last(seen), [[1, 11]]);
});

test("a cursor that was not taken is not used again", async (t) => {
  await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [], {cursor: "c5"}));
  for (const expected of ["c5", undefined]) {
    WebSocket.line.ends(1012);
    await clock.pass(1000);
    WebSocket.line.open();
    assert.equal(WebSocket.line.sent[0].since, expected);
    await says(subscribed("items", false));
  }
});

const authenticated = (seconds) => ({type: "authenticated", expires: clock.now / 1000 + seconds});

test("a token goes first, and a new one before it ends", async (t) => {
  let asked = 0;
  const {live} = await following(t, {token: async () => `token${asked++}`});
  WebSocket.line.open();
  assert.deepEqual(WebSocket.line.sent[0], {type: "auth", token: "token0"});
  await says(authenticated(120), subscribed("items"), snapshot("items", "5", []));
  for (let n = 0; n < 9; n++) await clock.pass(9_900), await says({type: "pong"});
  assert.equal(asked, 1);
  await clock.pass(1_000);
  assert.deepEqual(last(WebSocket.line.sent), {type: "auth", token: "token1"});
  assert.equal(live.status, "live");
  await says(authenticated(20));
  await clock.pass(10_000);
  assert.deepEqual(last(WebSocket.line.sent), {type: "auth", token: "token2"});
});

for (const [title, token, answer] of [
  ["no token is asked for", () => "token", {type: "authenticated", expires: null}],
  ["the token is a text", "token", {type: "authenticated", expires: 1_000_000_060}],
  ["it has years to live", () => "token", {type: "authenticated", expires: 2_000_000_000}],
]) {
  test(`a token is not renewed where ${title}`, async (t) => {
    await opened(t, {token});
    await says(answer, subscribed("items"), snapshot("items", "5", []));
    for (let n = 0; n < 20; n++) await clock.pass(24_000), await says({type: "pong"});
    assert.equal(WebSocket.line.sent.filter(({type}) => type === "auth").length, 1);
  });
}

test("a token that cannot be had is asked for again", async (t) => {
  t.mock.method(console, "error", () => {});
  let fails = 2;
  await following(t, {
    token: () => {
      if (fails--) throw new Error("no session");
      return "good";
    },
  });
  await clock.pass(1_500);
  WebSocket.line.open();
  assert.deepEqual(WebSocket.line.sent[0], {type: "auth", token: "good"});
});

test("one who fails stops no other", async (t) => {
  const thrown = [];
  const {live, seen} = await opened(t);
  live.rows("items").subscribe(() => {
    throw new Error("a bug of the page");
  });
  live.rows("items").subscribe((rows) => thrown.push(rows.length));
  WebSocket.line.says(subscribed("items"), snapshot("items", "5", [row(1, 10)]));
  await assert.rejects(clock.pass(), /a bug of the page/);
  assert.deepEqual([seen.length, thrown], [1, [1]]);
});

test("a subscriber who comes back at once costs the bridge nothing", async (t) => {
  const {live, end} = await opened(t);
  await says(subscribed("items"), snapshot("items", "5", [row(1, 10)]));
  end();
  const again = live.rows("items").subscribe(() => {});
  await clock.pass(5_000);
  assert.deepEqual(WebSocket.line.sent, [{type: "subscribe", topic: "items"}]);
  assert.equal(live.status, "live");
  again();
  again();
  await clock.pass(1_000);
  assert.ok(WebSocket.line.closed);
  assert.equal(live.status, "idle");
});

const event = (n) => ({type: "event", topic: "log", key: {id: n}, row: {id: n}, position: n, cursor: `e${n}`});

async function reading(t, from) {
  clock = new Clock().install(t);
  t.mock.method(Math, "random", () => 1);
  const live = connect("http://bridge", {WebSocket});
  t.after(() => live.close());
  const events = live.events("log", from);
  const first = events.next();
  await clock.pass();
  WebSocket.line.open();
  return {live, events, first};
}

test("events come once and in order, from where the reader wants them, over a lost line", async (t) => {
  const {events, first} = await reading(t, {since: "e0"});
  assert.deepEqual(WebSocket.line.sent, [{type: "subscribe", topic: "log", since: "e0"}]);
  await says(subscribed("log", true), event(1), event(2));
  assert.equal((await first).value.position, 1);
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  assert.deepEqual(WebSocket.line.sent, [{type: "subscribe", topic: "log", since: "e2"}]);
  await says(subscribed("log", true), event(3));
  assert.equal((await events.next()).value.position, 2);
  assert.equal((await events.next()).value.position, 3);
});

test("a slow reader keeps a thousand events, and asks for the rest when it has read them", async (t) => {
  const {events, first} = await reading(t, {since: "start"});
  await says(subscribed("log", true), ...Array.from({length: 1_500}, (_, n) => event(n + 1)));
  assert.deepEqual(last(WebSocket.line.sent), {type: "unsubscribe", topic: "log"});
  let {value} = await first;
  while (value.position < 1_000) ({value} = await events.next());
  const more = events.next();
  // What was said of the topic before the bridge knew that it was left is passed over.
  await says(event(1_501), subscribed("log", true, {cursor: "e1501"}), event(1_502));
  assert.deepEqual(last(WebSocket.line.sent), {type: "unsubscribe", topic: "log"});
  await says({type: "unsubscribed", topic: "log"});
  assert.deepEqual(last(WebSocket.line.sent), {type: "subscribe", topic: "log", since: "e1000"});
  await says(subscribed("log", true), event(1_001));
  assert.equal((await more).value.position, 1_001);
});

test("a reader is told when events that it has not seen are not kept any more", async (t) => {
  const {events, first} = await reading(t, {since: "e0"});
  await says(subscribed("log", true), event(1));
  await first;
  const next = events.next();
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  WebSocket.line.says(subscribed("log", false), event(9));
  await assert.rejects(next, {name: "RowcastError", code: "not_resumed", topic: "log"});
});

test("an event without a cursor, its own being too long, is not taken for the last", async (t) => {
  const {events, first} = await reading(t);
  await says(subscribed("log", false, {cursor: "e0"}), {...event(1), cursor: undefined});
  await first;
  const next = events.next();
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  WebSocket.line.says(subscribed("log", false, {cursor: "e9"}));
  await assert.rejects(next, {code: "not_resumed"});
});

test("a topic that the bridge has ended is not left once more", async (t) => {
  const {live} = await opened(t);
  const stop = live.row("items/1").subscribe(() => {}, () => {});
  await says({type: "error", code: "forbidden", message: "no", topic: "items/1"});
  stop();
  await clock.pass(1_000);
  assert.equal(WebSocket.line.sent.filter(({type}) => type === "unsubscribe").length, 0);
  const other = live.row("items/2").subscribe(() => {}, () => {});
  await says({type: "error", code: "unavailable", message: "no", topic: "items/2"});
  other();
  await clock.pass(1_000);
  assert.deepEqual(last(WebSocket.line.sent), {type: "unsubscribe", topic: "items/2"});
});

test("a reader without a cursor goes on from the one that it is given", async (t) => {
  const {first} = await reading(t);
  assert.deepEqual(WebSocket.line.sent, [{type: "subscribe", topic: "log"}]);
  await says(subscribed("log", false, {cursor: "e7"}));
  WebSocket.line.ends(1012);
  await clock.pass(500);
  WebSocket.line.open();
  assert.equal(WebSocket.line.sent[0].since, "e7");
  await says(subscribed("log", true), event(8));
  assert.equal((await first).value.position, 8);
});

test("a second reader of a log has a line of its own", async (t) => {
  const {live, first} = await reading(t, {since: "e0"});
  const other = live.events("log", {since: "e5"});
  const second = other.next();
  await clock.pass();
  assert.equal(WebSocket.lines.length, 2);
  WebSocket.line.open();
  await says(subscribed("log", true), event(6));
  assert.equal((await second).value.position, 6);
  WebSocket.lines[0].says(subscribed("log", true), event(1));
  assert.equal((await first).value.position, 1);
  await other.return();
  assert.ok(WebSocket.lines[1].closed);
  assert.ok(!WebSocket.lines[0].closed);
});

test("a reader ends by its signal, by close, and with the error of the bridge", async (t) => {
  const stop = new AbortController();
  const {live, first} = await reading(t, {signal: stop.signal});
  stop.abort();
  assert.deepEqual(await first, {done: true, value: undefined});
  const refused = live.events("nothing").next();
  await clock.pass();
  WebSocket.line.open();
  WebSocket.line.says({type: "error", code: "unknown_topic", message: "no such topic", topic: "nothing"});
  await assert.rejects(refused, {code: "unknown_topic"});
  const ended = live.events("log").next();
  await clock.pass();
  live.close();
  assert.deepEqual(await ended, {done: true, value: undefined});
  assert.deepEqual(await live.events("log").next(), {done: true, value: undefined});
});
