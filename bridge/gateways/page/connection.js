// The page's WebSocket: it comes back by itself, and follows one topic at a time.

import { $ } from "./dom.js";
import { log } from "./log.js";
import { receiveChange, receiveEvent, receiveSnapshot, replica, schedule } from "./rows.js";
import { parse } from "./values.js";

let socket = null, attempt = 0, retry = 0, lastHeard = 0, name = "";

export function connect() {
  clearTimeout(retry);
  setStatus("connecting", "connecting");
  socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/ws" + location.search);
  socket.onmessage = ({ data }) => { lastHeard = Date.now(); receive(data); };
  socket.onclose = (close) => { socket = null; closed(close); };
  lastHeard = Date.now();
}

export function send(message) {
  if (socket?.readyState !== WebSocket.OPEN) return;
  const text = JSON.stringify(message);
  log(text, message, true);
  socket.send(text);
}

export function receive(text) {
  const message = parse(text), { type, topic } = message;
  log(text, message, false);
  if (type === "welcome") return welcome(message);
  if (type === "status") return message.state === "live" ? live() : setStatus("stale", "stale: the bridge has lost its database");
  if (type === "error") return showError(message);
  if (topic !== replica.topic) return;
  if (type === "subscribed") { attempt = 0; replica.failed = false; live(); $("problem").textContent = ""; }
  if (type === "snapshot") receiveSnapshot(message);
  if (type === "change") receiveChange(message);
  if (type === "event") receiveEvent(message);
  schedule();
}

function welcome({ instance, version }) {
  name = `instance ${instance}, version ${version}`;
  setStatus("connecting", "connected");
  if (replica.topic) send({ type: "subscribe", topic: replica.topic });
}

const live = () => setStatus("live", `live, ${name}`);

function showError({ code, message, topic }) {
  if (topic !== undefined && topic !== replica.topic) return;
  $("problem").textContent = `${code}: ${message}`;
  replica.failed ||= topic === replica.topic;
  schedule();
  if (code === "unavailable") setTimeout(() => topic === replica.topic && send({ type: "subscribe", topic }), 1000 + 2000 * Math.random());
}

// Full jitter: after an outage everybody comes back, and must not come at once.
function closed({ code, reason }) {
  if (code >= 4500 && code < 4600) return setStatus("refused", `refused (${code}${reason && ": " + reason}); reload the page to try again`);
  const asked = Number(/retry_after\D*([\d.]+)/.exec(reason)?.[1] ?? 0) * 1000;
  const delay = asked + Math.random() * Math.min(20000, 500 * 2 ** attempt++);
  setStatus("stale", `connection lost (${code}), trying again`);
  retry = setTimeout(connect, delay);
}

function setStatus(state, text) {
  if ($("status").textContent !== text) $("status").textContent = text;
  $("status").dataset.state = state;
  $("pane").classList.toggle("stale", state !== "live" && replica.size > 0);
}

// A link that died in silence: no answer to a ping for 15 s, and it is given up.
setInterval(() => {
  if (!socket) return;
  if (Date.now() - lastHeard > 30000) { const dead = socket; dead.onclose = dead.onmessage = null; dead.close(); socket = null; closed({ code: 1006, reason: "" }); }
  else if (Date.now() - lastHeard > 15000) send({ type: "ping" });
}, 5000);
addEventListener("online", () => { if (!socket) connect(); });
