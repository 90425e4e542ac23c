// Keeps a copy of what a bridge sends; what the exports are for stands in rowcast.d.ts.
// - The client rules of docs/protocol.md hold, and a line that was given up is not heard.
// - Subscribers see what was published, all topics at once, so that no two disagree.
// - Nothing happens before the first of them: it can be imported and called anywhere.

const QUIET = 25_000, PATIENCE = 10_000; // ms without a word, and then until given up
const FIRST = 500, CAP = 30_000; // ms: the first and the last limit of a random delay
const LINGER = 1_000; // ms that a topic outlives its last subscriber, who may be back at once
const MARGIN = 30_000; // ms before its end that a token is renewed

export class RowcastError extends Error {
  name = "RowcastError";

  constructor({message, code, topic, cursor}) {
    super(message);
    Object.assign(this, {code, topic, cursor});
  }
}

// JSON.parse rounds integers past 2^53, and would take two keys for one.
const exact = (found) =>
  /^-?\d{16,}$/.test(found) && !Number.isSafeInteger(+found) ? `"${found}"` : found;
const decode = (text) =>
  JSON.parse(text.replace(/"[^"\\]*(?:\\.[^"\\]*)*"|[-+.\deE]{16,}/g, exact));

const fill = (topic, keys) =>
  topic.replace(/{([^}]+)}/g, (_, column) => encodeURIComponent(keys[column]));

const entry = (key, row) => ({at: Object.values(key), row});
const order = ({at: a}, {at: b}) => {
  for (const i in a) if (a[i] !== b[i]) return a[i] < b[i] ? -1 : 1;
};

class Replica {
  listeners = new Set();

  subscribed({topic, resumed, cursor}) {
    this.error = undefined;
    // Of rows, a snapshot would bring the cursor.
    const log = !resumed && cursor;
    if (log) this.fail(new RowcastError({code: "log", message: "a log; read its events()", topic}));
    this.cursor = resumed ? cursor ?? this.cursor : undefined;
    return resumed || log;
  }

  snapshot({rows, first, last, version, cursor}) {
    if (first) this.next = {floor: version, seen: new Map(), held: new Map()};
    for (const {key, row} of rows) this.next.held.set(JSON.stringify(key), entry(key, row));
    // Before the last page there is nothing to resume: the others would be missing.
    this.cursor = last ? cursor : undefined;
    if (last) Object.assign(this, this.next, {changed: true});
    return last;
  }

  change({key, row, version, cursor = this.cursor}) {
    const name = JSON.stringify(key);
    if (!this.held || version < (this.seen.get(name) ?? this.floor)) return;
    this.seen.set(name, version);
    row ? this.held.set(name, entry(key, row)) : this.held.delete(name);
    Object.assign(this, {cursor, changed: true});
  }

  fail(error) {
    this.error = this.failed = error;
  }

  publish() {
    const {listeners, changed, failed} = this;
    if (changed) this.rows = [...this.held.values()].sort(order).map(({row}) => row);
    this.changed = this.failed = undefined;
    return [...listeners].map((listener) => () => {
      if (changed && listeners.has(listener)) listener.next(this.rows);
      if (failed && listeners.has(listener)) listener.fail(failed);
    });
  }
}

function socket(base, {WebSocket}, {opened, heard, ended}) {
  const socket = new WebSocket(base.replace(/^http/, "ws") + "/ws");
  socket.onopen = opened;
  socket.onmessage = ({data}) => heard(data);
  socket.onerror = () => ended(); // Node's tells no close where nothing was opened
  socket.onclose = ({code, reason}) => ended(code, reason);
  return {
    send: (message) => socket.readyState === 1 && socket.send(JSON.stringify(message)),
    close: () => socket.close(),
    probe: true,
  };
}

// A subscriber's error stops no other, and is reported where uncaught errors are.
function safely(call) {
  try {
    call();
  } catch (error) {
    setTimeout(() => {
      throw error;
    });
  }
}

export function connect(url, options = {}) {
  const {token, parse = decode, WebSocket = globalThis.WebSocket} = options;
  const base = new URL(url, globalThis.location?.href ?? "http://localhost").href
    .replace(/^ws/, "http")
    .replace(/\/(ws)?$/, "");
  const topics = new Map(); // name → Replica, or one who reads events
  const watchers = new Set(); // of the status
  let behind = new Set(); // names of topics that are yet to be brought up to date
  let status = "idle", ever, stale, over; // ever: was live once; over: closed, and why
  let line, direct, misses = 0, limit = FIRST;
  let timer, retry, renewal, flushing;

  function state() {
    if (over) return "closed";
    if (!topics.size) return "idle";
    if (line?.heard && !stale && !behind.size) return (ever = "live");
    return ever ? "stale" : "connecting";
  }

  function flush() {
    const calls = [...topics.values()].flatMap((topic) => topic.publish());
    if (status !== (status = state()))
      watchers.forEach((watch) => calls.push(() => watch(status)));
    flushing = undefined;
    calls.forEach(safely);
  }

  function settle() {
    flushing ??= setTimeout(flush);
  }

  // One line at a time.

  const send = (message) => line?.send?.(message);
  // `gone`: the bridge has ended it, or was asked to, and would not know it if asked again.
  const ask = (name, topic) => {
    topic.gone = false;
    send({type: "subscribe", topic: name, since: topic.cursor});
  };
  const drop = (name, topic) => {
    if (!topic.gone) send({type: "unsubscribe", topic: name});
    topic.gone = true;
  };
  const credential = async () => (token?.call ? token() : token);

  function expect(delay, act) {
    clearTimeout(timer);
    timer = setTimeout(act, delay);
  }

  function hangUp() {
    [timer, retry, renewal].forEach(clearTimeout);
    // First, for a socket may tell of its end while it is closed.
    const old = line;
    line = retry = undefined;
    old?.close?.();
    settle();
  }

  async function dial() {
    hangUp();
    if (over || !topics.size) return;
    const mine = (line = {});
    const on = (act) => (...given) => line === mine && act(...given);
    behind = new Set(topics.keys());
    listen("addEventListener");
    expect(PATIENCE, lost);
    try {
      const token = await credential();
      direct = WebSocket && (misses < 2 || misses % 2);
      const open = direct ? socket : (await import("./rowcast-sse.js")).stream;
      const opened = () => {
        if (token) send({type: "auth", token});
        topics.forEach((topic, name) => ask(name, topic));
      };
      const told = {opened: on(opened), heard: on(heard), ended: on(lost), again: on(dial)};
      on(() => Object.assign(mine, open(base, {WebSocket, topics, token}, told)))();
    } catch (error) {
      console.error(error);
      on(lost)();
    }
  }

  // `expires` is in seconds, and missing where no token is asked for.
  function authenticated({expires}) {
    if (!token?.call || !expires) return;
    const left = expires * 1000 - Date.now();
    renewal = setTimeout(renew, Math.min(Math.max(left - MARGIN, left / 2, 1000), 2 ** 31 - 1));
  }

  async function renew(mine = line) {
    const token = await credential().catch(console.error);
    if (token && line === mine) send({type: "auth", token});
  }

  function lost(code, reason) {
    // Where a WebSocket got through once, a failed one more likely means that the bridge is down.
    if (line.send) misses = !line.heard ? misses + 1 : direct ? -4 : 1;
    hangUp();
    if (code >= 4500) return finish(new RowcastError({code, message: reason || code}));
    const asked = /retry_after\D*(\d+)/.exec(reason)?.[1] ?? 0;
    retry = setTimeout(dial, asked * 1000 + Math.random() * limit);
    limit = Math.min(limit * 2, CAP);
  }

  function finish(error) {
    over ??= {error};
    hangUp();
    listen("removeEventListener");
    topics.forEach(end);
  }

  const end = (topic) => (over.error ? topic.fail(over.error) : topic.end?.());

  function heard(text) {
    expect(QUIET, probe);
    if (!text) return;
    line.heard = true;
    const message = parse(text);
    const {type} = message;
    const topic = topics.get(message.topic);
    if (type === "welcome" || type === "status") stale = message.state === "stale";
    else if (type === "authenticated") authenticated(message);
    else if (type === "error") refused(message, topic);
    else if (topic?.[type]?.(message)) behind.delete(message.topic);
    if (type === "subscribed") limit = FIRST;
    settle();
  }

  function refused(message, topic) {
    const error = new RowcastError(message);
    behind.delete(message.topic);
    if (!topic) return console.error(error);
    topic.gone = message.code !== "unavailable";
    topic.fail(error);
  }

  function probe() {
    send({type: "ping"});
    expect(PATIENCE, lost);
  }

  function wake() {
    if (globalThis.document?.hidden) return;
    if (retry) dial();
    else if (line?.probe) probe();
  }

  function listen(how) {
    for (const event of ["online", "offline"]) globalThis[how]?.(event, wake);
    globalThis.document?.[how]("visibilitychange", wake);
  }

  function follow(name, topic) {
    if (over) return end(topic);
    topics.set(name, topic);
    if (line) ask(name, topic);
    else if (!retry) dial();
    settle();
  }

  function leave(name, topic) {
    if (topics.get(name) !== topic) return;
    topics.delete(name);
    behind.delete(name);
    topics.size ? drop(name, topic) : hangUp();
    settle();
  }

  const view = (pick) => (template, keys) => {
    const topic = fill(template, keys);
    return {
      topic,
      get value() {
        const {rows} = topics.get(topic) ?? {};
        return rows && pick(rows);
      },
      get error() {
        return topics.get(topic)?.error;
      },
      subscribe(next, fail = console.error) {
        const replica = topics.get(topic) ?? new Replica();
        const listener = {next: (rows) => next(pick(rows)), fail};
        if (!topics.has(topic)) follow(topic, replica);
        replica.listeners.add(listener);
        if (replica.rows) safely(() => listener.next(replica.rows));
        if (replica.error) safely(() => fail(replica.error));
        const gone = () => replica.listeners.size || leave(topic, replica);
        return () => replica.listeners.delete(listener) && setTimeout(gone, LINGER);
      },
    };
  };

  return {
    row: view((rows) => rows[0] ?? null),
    rows: view((rows) => rows),
    async *events(topic, from) {
      const {read} = await import("./rowcast-events.js");
      const other = () => connect(url, options);
      const closed = () => over && !over.error;
      yield* read(topic, from, {topics, watchers, follow, leave, ask, drop, other, closed});
    },
    get status() {
      return status;
    },
    get error() {
      return over?.error;
    },
    subscribe(watch) {
      watchers.add(watch);
      safely(() => watch(status));
      return () => watchers.delete(watch);
    },
    close: () => finish(),
  };
}
