// What a stream of Server-Sent Events is asked for, and how often.

import assert from "node:assert/strict";
import {test} from "node:test";

import {connect} from "../rowcast.js";
import "../rowcast-sse.js"; // loaded when needed, which must not take longer than a turn of the loop
import {Clock, snapshot, subscribed} from "./support/fakes.js";

/** A bridge that begins a stream for whoever asks; `asked` has the topics of each, newest last. */
function streaming(t) {
  const clock = new Clock().install(t);
  const asked = [];
  const live = connect("http://bridge", {WebSocket: null});
  t.mock.method(globalThis, "fetch", async (address) => {
    const topics = new URL(address).searchParams.getAll("topic");
    asked.push(topics);
    const begun = topics.flatMap((topic) => [subscribed(topic), snapshot(topic, "5", [])]);
    return {ok: true, body: told([{type: "welcome"}, ...begun])};
  });
  t.after(() => live.close());
  const follow = async (...topics) => {
    for (const topic of topics) live.rows(topic).subscribe(() => {});
    await clock.pass();
  };
  return {asked, clock, follow, live};
}

const told = (messages) => new ReadableStream({
  start(body) {
    for (const message of messages)
      body.enqueue(new TextEncoder().encode(`data: ${JSON.stringify(message)}\n\n`));
  },
});

test("topics that are followed at once make one stream", async (t) => {
  const {asked, follow} = streaming(t);
  await follow("a", "b", "c");
  assert.deepEqual(asked, [["a", "b", "c"]]);
});

test("topics that are added one after another make one new stream", async (t) => {
  const {asked, clock, follow, live} = streaming(t);
  await follow("a");
  await clock.pass(1_000);
  for (const topic of ["b", "c", "d", "e"]) {
    await follow(topic);
    await clock.pass(10);
  }
  await clock.pass(1_000);
  assert.deepEqual(asked, [["a"], ["a", "b", "c", "d", "e"]]);
  assert.equal(live.status, "live");
});
