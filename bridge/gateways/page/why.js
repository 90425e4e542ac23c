// Why did I not get it? For a table and a key, what the bridge did with it and with whom.

import { $, element } from "./dom.js";
import { tables } from "./overview.js";
import { clock, show } from "./values.js";

const SAID = {
  seen: ({ detail, times }) => `${detail} seen${times > 1 ? `, ${times} coalesced` : ""}`,
  ignored: ({ detail, times }) => `${detail} ignored: nobody followed the table${times > 1 ? `, ${times} times` : ""}`,
  unwanted: () => "not read: nobody followed a topic of it",
  read: () => "read", gone: () => "read: no such row", refused: () => "cannot be read, or is too large",
  failed: () => "the read failed, and is tried again",
  told: ({ detail, told, later }) => `${detail} to ${told}${later ? `, ${later} by snapshot` : ""}`,
  repeated: () => "not sent: equal to what was sent last",
  gap: () => "changes may have been missed: all is read anew",
  snapshot: ({ told }) => `snapshot to ${told}`,
  found: ({ told }) => `a read found ${told} unannounced change${told === 1 ? "" : "s"}`,
  denied: ({ detail }) => `denied to ${detail || "a token without sub"}`,
};
const KEPT = new Set(["ignored", "unwanted", "refused", "failed", "repeated", "denied"]);

// Fills in the form once tables are known; a choice that was made stays.
export function offer() {
  const names = tables.map(({ name }) => name), shown = [...$("why-table").options].map(({ value }) => value);
  if (names.join() === shown.join()) return;
  const chosen = $("why-table").value;
  $("why-table").replaceChildren(...names.map((name) => element("option", { value: name, textContent: name })));
  if (names.includes(chosen)) $("why-table").value = chosen;
  askForKey();
}

function askForKey(values = {}) {
  const columns = tables.find(({ name }) => name === $("why-table").value)?.key ?? [];
  $("why-key").replaceChildren(...columns.map((column) => element("label", {}, element("span", { textContent: column }),
    element("input", { name: column, value: column in values ? show(values[column]) : "", required: true, autocomplete: "off", spellcheck: false }))));
}

export function ask(table, key) {
  offer();
  $("why-table").value = table;
  askForKey(key);
  return answer();
}

async function answer() {
  const question = new URLSearchParams(location.search);
  question.set("table", $("why-table").value);
  for (const { value } of $("why-key").querySelectorAll("input")) question.append("key", value);
  try {
    const found = await fetch(`/inspector/why?${question}`, { signal: AbortSignal.timeout(10000) });
    const said = await found.json();
    found.ok ? tell(said) : refuse(said.message);
  } catch { refuse("The bridge does not answer; try again."); }
}

function refuse(message) {
  $("why-answer").textContent = message;
  $("why-facts").replaceChildren();
  $("why-steps").replaceChildren();
}

function tell({ answer: said, topics, filters, steps, since }) {
  $("why-answer").textContent = said;
  const facts = [
    ...filters.map((text) => ["Left out by", text]),
    ...topics.map(({ name, followers }) => [`${followers} following`, element("a", { href: "#" + name, textContent: name })]),
    ["Remembered", since ? `since ${clock(new Date(since * 1000))}` : "since the bridge started"],
  ];
  $("why-facts").replaceChildren(...facts.map(([term, fact]) => element("div", {}, element("dt", { textContent: term }), element("dd", {}, fact))));
  $("why-steps").replaceChildren(...steps.reverse().map(line));
}

function line(step) {
  const whom = step.hearers.map((number) => `#${number}`).join(" ") + (step.told > step.hearers.length && step.hearers.length ? " …" : "");
  const where = [step.topic, whom].filter(Boolean).join(" → ");
  return element("li", { className: KEPT.has(step.kind) ? "kept" : step.kind },
    element("time", { textContent: clock(new Date(step.at * 1000)) }), " ",
    element("b", { textContent: SAID[step.kind](step) }), ...(where ? [element("code", { textContent: where })] : []));
}

$("why-table").onchange = () => askForKey();
$("why-form").onsubmit = (submit) => { submit.preventDefault(); answer(); };
