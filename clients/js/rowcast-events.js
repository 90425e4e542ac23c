// One reader of a log, loaded when `events` is first used.
//
// It keeps at most BUFFER events. When it has so many it leaves the topic, and when they are
// read it comes back with the cursor of the last one: who reads slowly misses nothing, and
// holds up nobody.

import {RowcastError} from "./rowcast.js";

const BUFFER = 1_000;

const LOST = {code: "not_resumed", message: "events after this cursor are not kept any more"};

class Reader {
  events = [];
  news = () => {};

  constructor(cursor, leave) {
    Object.assign(this, {cursor, leave});
  }

  subscribed({topic, resumed, cursor = this.cursor}) {
    // It would go on from now, and nobody would know that events are missing.
    if (this.cursor !== undefined && !resumed) this.fail(new RowcastError({...LOST, topic}));
    else Object.assign(this, {cursor, reading: true, full: false});
    return true;
  }

  event(event) {
    // Some may be under way that were sent before the topic was left.
    if (!this.reading) return;
    this.cursor = event.cursor;
    this.full = this.events.push(event) >= BUFFER;
    if (this.full) this.leave((this.reading = false));
    this.news();
  }

  fail(error) {
    Object.assign(this, {error, reading: false});
    this.news();
  }

  end() {
    this.ended = true;
    this.news();
  }

  publish() {
    return [];
  }
}

export async function* read(topic, from, line) {
  if (!line.topics.has(topic)) return yield* follow(topic, from, line);
  // A topic has one position on a line, and so a second reader has a line of its own.
  const other = line.other();
  try {
    yield* other.events(topic, from);
  } finally {
    other.close();
  }
}

async function* follow(topic, {since, signal} = {}, line) {
  const reader = new Reader(since, () => line.drop(topic));
  const abort = () => reader.end();
  if (signal?.aborted) return;
  signal?.addEventListener("abort", abort);
  line.follow(topic, reader);
  try {
    while (!reader.ended) {
      if (reader.events.length) yield reader.events.shift();
      else if (reader.error) throw reader.error;
      else await next(topic, reader, line);
    }
  } finally {
    signal?.removeEventListener("abort", abort);
    line.leave(topic, reader);
  }
}

function next(topic, reader, line) {
  const news = new Promise((resolve) => (reader.news = resolve));
  if (reader.full) line.ask(topic, reader);
  return news;
}
