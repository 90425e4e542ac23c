// Tables with their rates, topics, instances and subscribers, from /inspector/status.

import { $, element, renew } from "./dom.js";
import { ago, rate } from "./values.js";

const NUMBERS = ["changes", "reads", "messages"];
let before = null;

// The tables as the bridge knows them: {name, key, …}.
export let tables = [];

export async function poll() {
  const answer = await fetch("/inspector/status" + location.search, { signal: AbortSignal.timeout(3000) });
  if (!answer.ok) throw new Error(answer.status);
  const status = { ...(await answer.json()), at: performance.now() };
  tables = status.tables;
  const earlier = before?.instance === status.instance ? before : null;
  showTables(status, earlier);
  showTopics(status, earlier);
  showBridge(status);
  before = status;
}

function perSecond(one, other, seconds) {
  return one === null || other === undefined ? "–" : rate(Math.max(0, one - other) / seconds);
}

function showTables(status, earlier) {
  const seconds = earlier ? (status.at - earlier.at) / 1000 : 1;
  const old = new Map(earlier?.tables.map((table) => [table.name, table]));
  renew($("tables"), status.tables.map(({ name, followers, refreshes, ...table }) => ({
    name, note: refreshes ? `refreshes ${refreshes}` : `${followers} following`,
    rates: NUMBERS.map((number) => perSecond(table[number], old.get(name)?.[number], seconds)),
  })), ({ name, note, rates }) => element("tr", {},
    element("th", { scope: "row" }, name, element("small", { textContent: note })),
    ...rates.map((text) => element("td", { textContent: text, className: text === "0" ? "null number" : "number" }))));
}

function showTopics(status, earlier) {
  const seconds = earlier ? (status.at - earlier.at) / 1000 : 1;
  const old = new Map(earlier?.followed?.map((topic) => [topic.name, topic]));
  renew($("followed"), (status.followed ?? []).map(({ name, followers, messages }) => ({
    name, followers, text: perSecond(messages, old.get(name)?.messages, seconds),
  })), ({ name, followers, text }) => element("tr", {},
    element("th", { scope: "row" }, element("a", { href: "#" + name, textContent: name })),
    element("td", { className: "number", textContent: followers }),
    element("td", { className: text === "0" ? "null number" : "number", textContent: text })));
}

function showBridge({ instance, instances, subscribers, reasons }) {
  renew($("reasons"), reasons, (reason) => element("li", { textContent: reason }));
  renew($("instances"), instances.map((one) => ({ ...one, connected: one.connected === null ? "" : ago(one.connected) })),
    ({ name, address, connected }) => element("tr", {},
      element("th", { scope: "row" }, name, element("small", { textContent: name === instance ? "this one" : "" })),
      element("td", { textContent: address || "local" }), element("td", { textContent: connected, className: "number" })));
  renew($("subscribers"), subscribers ?? [], ({ number, peer, topics, unsent, stalled }) => element("tr", { className: stalled ? "slow" : "" },
    element("th", { scope: "row" }, `#${number}`, element("small", { textContent: peer })),
    element("td", { textContent: topics, className: "number" }), element("td", { textContent: unsent, className: "number" }),
    element("td", { textContent: stalled ? `${stalled} s` : "no", className: stalled ? "number" : "null number" })));
  $("private").hidden = subscribers !== null;
}
