// The messages of a WebSocket where none gets through, loaded when that is found out.
//
// By fetch: an EventSource would not send a header, nor tell a status, and there is none
// outside of browsers.

export function stream(base, {topics, token}, {heard, ended, again}) {
  const stop = new AbortController();
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  const pause = new Pause(heard);
  fetch(`${base}/sse?${query(topics)}`, {headers, signal: stop.signal, cache: "no-store"})
    .then((answer) => (answer.ok ? read(answer.body, heard, pause) : refusal(answer, topics, heard)))
    .then(([code, reason]) => ended(code, reason))
    .catch(() => (stop.signal.aborted || hint(base), ended()));
  const close = () => (pause.end(), stop.abort());
  return {send: sender(topics, {heard, again, pause}), close};
}

// A browser keeps from a page why it may not read an answer; so all causes are named, once.
let hinted = false;

function hint(base) {
  const {document, origin} = globalThis;
  if (hinted || !document || new URL(base).origin === origin) return;
  hinted = true;
  const why = origin === "null"
    ? "A page that is opened as a file may not connect; serve it over HTTP."
    : `Does it run, with ${origin} in its server.allowed_origins?`;
  console.warn(`No answer from ${base}. ${why}`);
}

const GATHER = 50; // ms; topics that are added one after another make one new stream

// Of all that a client may say, a stream understands only what is in its address. But one that
// holds a single topic need not be read while its reader has enough: the bridge waits, too.
function sender(topics, {heard, again, pause}) {
  let gathering;
  const tell = (type, topic) => heard(JSON.stringify({type, topic, resumed: true}));
  return ({type, topic}) => {
    if (type === "unsubscribe") {
      if (topics.size === 1 && topics.has(topic)) pause.begin();
      tell("unsubscribed", topic);
    } else if (type === "subscribe") {
      if (!pause.over || topics.size > 1) return (gathering ??= setTimeout(again, GATHER));
      tell("subscribed", topic);
      pause.end();
    }
  };
}

const BEAT = 10_000; // ms; what is not read is no dead line

class Pause {
  constructor(heard) {
    this.heard = heard;
  }

  begin() {
    this.over = new Promise((resolve) => (this.resolve = resolve));
    this.beat = setInterval(this.heard, BEAT);
  }

  end() {
    clearInterval(this.beat);
    this.resolve?.();
    this.over = undefined;
  }
}

const ID = 4096; // bytes of what a bridge takes

function query(topics) {
  const fields = [...topics.keys()].map((topic) => ["topic", topic]);
  const cursors = [...topics.values()].map(({cursor}) => place(cursor)).join();
  if (/[^,]/.test(cursors) && cursors.length <= ID) fields.push(["last_event_id", cursors]);
  return new URLSearchParams(fields);
}

const place = (cursor = "") =>
  cursor.position === undefined ? cursor : `position=${encodeURIComponent(cursor.position)}`;

// Until the stream ends; what it then said of the end, as a WebSocket's code and reason.
async function read(body, heard, pause) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", end = [];
  for (let part; !(part = await reader.read()).done; ) {
    const events = (rest + part.value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (pause.over) await pause.over;
      end = /^: (\d+) (.*)/.exec(event)?.slice(1) ?? [];
      heard(/^data: (.*)/m.exec(event)?.[1]);
    }
  }
  return end;
}

// What passes is tried again, as is a token that may only have expired. Where the bridge
// refuses all topics each is told so, and the stream begins anew when another is followed.
async function refusal(answer, topics, heard) {
  const {status, headers} = answer;
  const text = await answer.text();
  const {code, message} = parse(text);
  if (status >= 500 || code === "unavailable" || (!code && [408, 425, 429].includes(status)))
    return [status, `retry_after=${headers.get("Retry-After")}`];
  if (!code) return [4500, text];
  const told = [...topics.keys()];
  for (const topic of told) heard(JSON.stringify({type: "error", topic, code, message}));
  return status === 401 ? [4401, message] : new Promise(() => {});
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
