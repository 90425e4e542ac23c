// The last messages of the connection, as they came and went.

import { $, element } from "./dom.js";
import { clock } from "./values.js";

const LOGGED = 50, LOG_TEXT = 1500, PACE_MS = 100;

const logged = [];
let paused = false, timer = 0;

export function log(text, { type, op }, sent) {
  if (paused) return;
  logged.push({ text: text.slice(0, LOG_TEXT), size: text.length, what: op ?? type, sent, at: new Date() });
  if (logged.length > LOGGED) logged.shift();
  timer ||= setTimeout(flush, PACE_MS);
}

function flush() {
  timer = 0;
  $("log").prepend(...logged.splice(0).reverse().map(logLine));
  while ($("log").children.length > LOGGED) $("log").lastChild.remove();
}

function logLine({ text, size, what, sent, at }) {
  const cut = size > LOG_TEXT;
  return element("li", {}, element("time", { textContent: clock(at) }), " ",
    element("b", { textContent: sent ? `→ ${what}` : what, className: sent ? "sent" : "" }),
    cut ? ` ${Math.ceil(size / 1024)} KiB` : "",
    element("code", { textContent: cut ? text + "…" : text }));
}

$("pause").onclick = ({ target }) => {
  paused = !paused;
  target.ariaPressed = paused;
  target.textContent = paused ? "Resume" : "Pause";
};
