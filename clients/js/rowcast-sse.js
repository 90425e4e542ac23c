// The messages of a WebSocket where none gets through, loaded when that is found out.
//
// By fetch: an EventSource would not send a header, nor tell a status, and there is none
// outside of browsers.

export function stream(base, {topics, token}, {heard, ended, again}) {
  const stop = new AbortController();
  const headers = token ? {Authorization: `Bearer ${token}`} : {};
  fetch(`${base}/sse?${query(topics)}`, {headers, signal: stop.signal, cache: "no-store"})
    .then((answer) => (answer.ok ? read(answer.body, heard) : refusal(answer, topics, heard)))
    .then(([code, reason]) => ended(code, reason))
    .catch(() => ended());
  // Of all that a client may say, a stream understands only what is in its address.
  const send = ({type}) => ["subscribe", "auth"].includes(type) && again();
  return {send, close: () => stop.abort()};
}

function query(topics) {
  const fields = [...topics.keys()].map((topic) => ["topic", topic]);
  const cursors = [...topics.values()].map(({cursor}) => cursor ?? "").join();
  if (/[^,]/.test(cursors)) fields.push(["last_event_id", cursors]);
  return new URLSearchParams(fields);
}

// Until the stream ends; what it then said of the end, as a WebSocket's code and reason.
async function read(body, heard) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "", end = [];
  for (let part; !(part = await reader.read()).done; ) {
    const events = (rest + part.value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      end = /^: (\d+) (.*)/.exec(event)?.slice(1) ?? [];
      heard(/^data: (.*)/m.exec(event)?.[1]);
    }
  }
  return end;
}

// A status below 500 is final, but for those that a proxy says of the moment. 400 says that
// none of the topics is known: that is told to each, and the next that is followed asks again.
async function refusal(answer, topics, heard) {
  const {status, headers} = answer;
  if (status >= 500 || [408, 425, 429].includes(status))
    return [0, `retry_after=${headers.get("Retry-After")}`];
  const text = await answer.text();
  if (status !== 400) return [4500, text];
  const error = {type: "error", ...JSON.parse(text)};
  for (const topic of topics.keys()) heard(JSON.stringify({...error, topic}));
  return new Promise(() => {});
}
