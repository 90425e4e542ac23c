// One reader of a log, loaded when `events` is first used.
//
// It keeps at most BUFFER events. When it has so many it leaves the topic, and when they are
// read it comes back with the cursor of the last one: who reads slowly misses nothing, and
// holds up nobody. What is still said of the topic before the bridge knows is passed over.

import {RowcastError} from "./rowcast.js";

const BUFFER = 1_000;

const LOST = {code: "not_resumed", message: "events after this cursor are not kept any more"};
const ROWS = {code: "not_a_log", message: "no log; follow it by row() or rows()"};

class Reader {
  events = [];
  news = () => {};

  constructor(cursor, leave) {
    Object.assign(this, {cursor, leave});
  }

  subscribed({topic, resumed, cursor = this.cursor}) {
    if (this.gone) return true;
    // It would go on from now, and nobody would know that events are missing. Where a cursor
    // would be too long there is none.
    const first = this.cursor === undefined && !this.begun;
    if (!first && !resumed) this.fail(new RowcastError({...LOST, topic}));
    else Object.assign(this, {cursor, begun: true, reading: true, full: false});
    return true;
  }

  event(event) {
    if (!this.reading) return;
    this.cursor = event.cursor;
    this.full = this.events.push(event) >= BUFFER;
    if (this.full) {
      this.reading = this.left = false;
      this.leave();
    }
    this.news();
  }

  unsubscribed() {
    this.left = true;
    this.news();
  }

  snapshot({topic}) {
    this.fail(new RowcastError({...ROWS, topic}));
    return true;
  }

  change(message) {
    return this.snapshot(message);
  }

  fail(error) {
    Object.assign(this, {error: this.error ?? error, reading: false});
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
  const watch = () => line.closed() && other.close();
  line.watchers.add(watch);
  try {
    yield* other.events(topic, from);
  } finally {
    line.watchers.delete(watch);
    other.close();
  }
}

async function* follow(topic, {since, signal} = {}, line) {
  const reader = new Reader(since, () => line.drop(topic, reader));
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
  if (reader.full && reader.left && reader.gone) line.ask(topic, reader);
  return news;
}
