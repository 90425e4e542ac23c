// Puts the parts together: the topic in the address, the tabs, and what is asked every second.

import { connect, send } from "./connection.js";
import { $, element } from "./dom.js";
import * as numbers from "./numbers.js";
import * as overview from "./overview.js";
import { begin, onAsked, replica, tick } from "./rows.js";
import { loadTemplates, templateOf, templates } from "./topics.js";
import * as why from "./why.js";

const CHIPS = 14;

// ── Choosing a topic ──────────────────────────────────────────────────────────
function follow(topic) {
  if (topic === replica.topic) return;
  if (replica.topic && !replica.failed) send({ type: "unsubscribe", topic: replica.topic });
  begin(topic);
  $("problem").textContent = "";
  $("topic").value = topic;
  document.title = `${topic} · Rowcast`;
  for (const chip of $("topics").children) chip.ariaCurrent = chip.dataset.template === templateOf(topic)?.text ? "true" : null;
  send({ type: "subscribe", topic });
}

function route() {
  const wide = templates.find(({ columns }) => !columns.length) ?? templates[0];
  const topic = location.hash.slice(1);
  if (topic) follow(topic);
  else if (wide && !wide.columns.length) follow(wide.text);
}

function choose(text) {
  const column = text.indexOf("{");
  if (column < 0) { location.hash = text; return; }
  $("topic").value = text;
  $("topic").focus();
  $("topic").setSelectionRange(column, text.indexOf("}") + 1);
}

$("form").onsubmit = (submit) => {
  submit.preventDefault();
  choose($("topic").value.trim());
};
addEventListener("hashchange", route);

async function loadTopics() {
  const all = await loadTemplates();
  $("templates").replaceChildren(...all.map(({ text }) => element("option", { value: text })));
  $("topics").replaceChildren(...all.slice(0, CHIPS).map(chip));
}

function chip({ text, columns }) {
  const made = columns.length ? element("button", { type: "button", onclick: () => choose(text) }) : element("a", { href: "#" + text });
  made.textContent = made.dataset.template = text;
  return made;
}

// ── Tabs: one is in the order of the Tab key, arrows lead to the others ───────
const tabs = [...document.querySelectorAll("[role=tab]")];

function select(tab) {
  for (const one of tabs) {
    one.ariaSelected = one === tab;
    one.tabIndex = one === tab ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = one !== tab;
  }
}

for (const tab of tabs) {
  tab.onclick = () => select(tab);
  tab.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const next = tabs.at((tabs.indexOf(tab) + step) % tabs.length);
    select(next);
    next.focus();
  };
}

onAsked((table, key) => {
  select($("tab-why"));
  why.ask(table, key);
  $("tab-why").scrollIntoView({ block: "nearest" });
  $("why-answer").focus({ preventScroll: true });
});

// ── Every second ──────────────────────────────────────────────────────────────
async function look() {
  try {
    await overview.poll();
    why.offer();
  } catch { /* the connection's state says so already */ }
}

async function everySecond() {
  if (!document.hidden) { tick(); await Promise.all([numbers.poll(), look()]); }
  setTimeout(everySecond, 1000);
}

try { await loadTopics(); } catch { $("problem").textContent = "The list of topics is not to be had; a topic can still be typed."; }
route();
connect();
everySecond();
