// A subscriber that shows what it holds. The rules:
// - A message is applied only if its version is not below the held one; a delete is held, too.
// - A snapshot page with `first` means: forget what was held for the topic.
// - Messages change the model at once and the page at most every 50 ms; both are bounded.

import { $, element } from "./dom.js";
import { fill, templateOf, templates } from "./topics.js";
import { ago, brief, compare, isNumber, show } from "./values.js";

const SHOWN = 200, FLUSH_MS = 50, SLOWEST_MS = 600, COOL_MS = 300, HEAT = 4, GHOST_MS = 1500;
const MAX_EVENTS = 1000, MAX_TOMBSTONES = 10000;

// What to do when somebody asks what became of a key; set by the page.
let asked = () => {};
export function onAsked(act) { asked = act; }

// Where a row leads: the topic of its key, else the narrowest other one it belongs to.
function topicOf({ key, row }) {
  const own = templates
    .filter((template) => template.table === replica.table && template.columns.length)
    .sort((a, b) => covers(b, key) - covers(a, key) || b.columns.length - a.columns.length)
    .map((template) => fill(template, { ...row, ...key }));
  return own[0] !== replica.topic ? own[0] : null;
}

const covers = (template, key) =>
  Object.keys(key).every((column) => template.columns.includes(column)) && template.columns.length === Object.keys(key).length;

// ── The replica: what this subscriber holds of one topic ──────────────────────
export let replica = emptied(null);

function emptied(topic) {
  return { topic, table: templateOf(topic ?? "")?.table, entries: new Map(), before: null, size: 0, loading: true, event: false, failed: false };
}

export function receiveSnapshot({ rows, first, last, version }) {
  if (first) {
    replica.before ??= replica.loading ? new Map() : replica.entries;
    const { before, topic } = replica;
    replica = Object.assign(emptied(topic), { before });
  }
  for (const { key, row } of rows) hold(key, row, version, "snapshot");
  if (last) finishSnapshot();
}

function finishSnapshot() {
  const known = replica.before.size > 0;
  for (const [id, entry] of replica.entries) {
    const old = replica.before.get(id);
    const same = old?.row && JSON.stringify(old.row) === JSON.stringify(entry.row);
    entry.changed = !known ? null : same ? old.changed : Date.now();
    entry.isNew = known && !old?.row;
    view.dirty.add(id);
  }
  Object.assign(replica, { loading: false, before: null });
  view.unsorted = true;
}

export function receiveChange({ key, row, version, op, table }) {
  replica.table ??= table;
  hold(key, row, version, op);
  if (replica.entries.size - replica.size > MAX_TOMBSTONES) forgetOldest((entry) => !entry.row);
}

export function receiveEvent({ key, row, table }) {
  replica.table ??= table;
  Object.assign(replica, { loading: false, event: true });
  hold(key, row, "", "insert");
  if (replica.size > MAX_EVENTS) forgetOldest(() => true);
}

function hold(key, row, version, op) {
  const id = JSON.stringify(key), held = replica.entries.get(id);
  if (held && version < held.version) return;
  if (op !== "snapshot") measureAge(held?.row, row);
  const changed = op === "snapshot" ? null : Date.now();
  replica.size += (row ? 1 : 0) - (held?.row ? 1 : 0);
  replica.entries.set(id, { id, key, row, version, changed, last: row ?? held?.row, isNew: !held?.row && op !== "snapshot" });
  if (!row && held?.row) setTimeout(() => { view.unsorted = true; schedule(); }, GHOST_MS + 20);
  view.dirty.add(id);
  view.unsorted ||= !row || !held?.row || !(view.sort.column in key);
}

function forgetOldest(condition) {
  for (const [id, entry] of replica.entries) {
    if (!condition(entry)) continue;
    replica.entries.delete(id);
    if (entry.row) replica.size -= 1;
    return;
  }
}

export const ages = [];
function measureAge(before, row) {
  if (!row?.updated_at || row.updated_at === before?.updated_at) return;
  const age = Date.now() - Date.parse(row.updated_at);
  if (!(Math.abs(age) < 60000)) return;
  if (ages.push(age) > 50) ages.shift();
}

// ── The view: rows of the replica as table rows, keyed and reused ─────────────
const CHANGED = Symbol("changed");   // no name of a column can be mistaken for it
const view = { columns: new Map(), rows: new Map(), order: [], sort: {}, dirty: new Set(), hot: new Map(), unsorted: true, held: false };

// Follow another topic: nothing is known of it yet.
export function begin(topic) {
  replica = emptied(topic);
  resetView();
  schedule();
}

function resetView() {
  Object.assign(view, { columns: new Map(), order: [], sort: {}, unsorted: true, held: false });
  view.rows.clear();
  view.dirty.clear();
  $("head").replaceChildren();
  $("body").replaceChildren();
}

let scheduled = false, flushed = 0, pace = FLUSH_MS;
export function schedule() {
  if (scheduled) return;
  scheduled = true;
  setTimeout(() => requestAnimationFrame(frame), Math.max(0, pace - (performance.now() - flushed)));
}

function frame() {
  scheduled = false;
  const began = performance.now();
  flush();
  setTimeout(() => adapt(performance.now() - began));   // after the browser has laid it out and painted
}

// However slow the machine and however busy the topic, drawing takes a quarter of the time at most.
function adapt(cost) {
  flushed = performance.now();
  pace = 0.7 * pace + 0.3 * Math.min(SLOWEST_MS, Math.max(FLUSH_MS, 3 * cost));
}

function flush() {
  if (replica.loading) return showCaption();
  updateColumns();
  if (view.unsorted && !isHeld()) sortRows();
  const shown = view.order.filter(isShown).slice(0, SHOWN);
  for (const id of view.rows.keys()) view.rows.get(id).shown = false;
  shown.forEach(placeRow);
  for (const [id, line] of view.rows) if (!line.shown) { line.tr.remove(); view.rows.delete(id); }
  view.dirty.clear();
  showCaption();
}

// Rows sorted by what changes would run away from the pointer.
const isHeld = () => view.held && !view.sort.byKey;

// A deleted row stays, struck through, for a moment; but only where it was to be seen.
function isShown(id) {
  const entry = replica.entries.get(id);
  return entry && (entry.row || (view.rows.has(id) && Date.now() - entry.changed < GHOST_MS));
}

function updateColumns() {
  let differs = false;
  for (const id of view.dirty) {
    const entry = replica.entries.get(id);
    if (!entry?.row) continue;
    for (const [name, value] of Object.entries({ ...entry.key, ...entry.row })) {
      const known = view.columns.get(name), number = known === true || isNumber(value);
      if (known !== number) { view.columns.set(name, number); differs = true; }
    }
  }
  if (differs) rebuild();
}

function rebuild() {
  view.sort.column ??= defaultSort();
  view.rows.clear();
  $("body").replaceChildren();
  showHead();
}

// One number as the key: most likely the newest have the highest, and belong on top.
function defaultSort() {
  const { key } = replica.entries.values().next().value, [first, ...others] = Object.keys(key);
  view.sort.down = !others.length && isNumber(key[first]);
  return first;
}

function showHead() {
  const heads = [...view.columns, [CHANGED, true]].map(([column, number]) => {
    const text = column === CHANGED ? "changed" : column;
    const button = element("button", { type: "button", textContent: text, onclick: () => sortBy(column) });
    const th = element("th", { scope: "col", className: number ? "number" : "" }, button);
    if (column === view.sort.column) th.ariaSort = view.sort.down ? "descending" : "ascending";
    return th;
  });
  $("head").replaceChildren(...heads);
}

function sortBy(column) {
  view.sort = { column, down: column === view.sort.column ? !view.sort.down : column === CHANGED };
  view.unsorted = true;
  const index = [...$("head").children].findIndex((th) => th.contains(document.activeElement));
  showHead();
  $("head").children[index]?.firstChild.focus();
  schedule();
}

function sortRows() {
  const { column, down } = view.sort, sign = down ? -1 : 1;
  const value = column === CHANGED ? (entry) => entry.changed ?? 0
    : (entry) => entry.last?.[column] ?? entry.key[column];
  const names = Object.keys(replica.entries.values().next().value?.key ?? {});
  const byKey = (a, b) => names.reduce((order, name) => order || compare(a.key[name], b.key[name]), 0);
  view.sort.byKey = names.includes(column);
  view.order = [...replica.entries.values()].filter((entry) => isShown(entry.id))
    .sort((a, b) => sign * (compare(value(a), value(b)) || byKey(a, b)))
    .map((entry) => entry.id);
  view.unsorted = false;
}

function placeRow(id, index) {
  const line = view.rows.get(id) ?? makeRow(id);
  line.shown = true;
  if (view.dirty.has(id)) fillRow(line, replica.entries.get(id));
  const at = $("body").children[index];
  if (at !== line.tr) $("body").insertBefore(line.tr, at ?? null);
}

function makeRow(id) {
  const entry = replica.entries.get(id), topic = topicOf(entry);
  const cells = [...view.columns.keys(), CHANGED].map(() => element("td"));
  cells.at(-1).append(element("button", {
    type: "button", className: "since", title: "What became of this key?", onclick: () => asked(replica.table, entry.key),
  }));
  const line = { tr: element("tr", {}, ...cells), cells, texts: [], link: null };
  [...view.columns.values()].forEach((number, i) => cells[i].classList.toggle("number", number));
  if (topic) {
    line.link = element("a", { href: "#" + topic });
    line.tr.dataset.link = topic;
    cells[0].append(line.link);
  }
  if (entry.isNew && Date.now() - entry.changed < HEAT * COOL_MS) heat(line.tr);
  view.rows.set(id, line);
  fillCells(line, entry, false);
  return line;
}

function fillRow(line, entry) {
  line.tr.classList.toggle("gone", !entry.row);
  if (!entry.row) return;
  fillCells(line, entry, true);
}

function fillCells(line, { key, last, changed }, highlight) {
  [...view.columns.keys()].forEach((name, i) => {
    const value = last && name in last ? last[name] : key[name], text = show(value), short = brief(text);
    const cell = line.cells[i], target = i === 0 && line.link ? line.link : cell;
    if (line.texts[i] === text) return;
    line.texts[i] = text;
    target.textContent = short;
    cell.title = short !== text || text.length > 24 ? text : "";
    cell.classList.toggle("null", value === null || value === undefined);
    if (highlight) heat(cell);
  });
  showSince(line, changed);
}

function heat(target) {
  target.dataset.heat = HEAT;
  if (!view.hot.size) setTimeout(cool, COOL_MS);
  view.hot.set(target, Date.now() + COOL_MS);
}

function cool() {
  for (const [target, since] of view.hot) {
    const left = HEAT - Math.max(0, Math.floor((Date.now() - since) / COOL_MS));
    if (left > 0) { target.dataset.heat = left; continue; }
    delete target.dataset.heat;
    view.hot.delete(target);
  }
  if (view.hot.size) setTimeout(cool, COOL_MS);
}

function showSince(line, changed) {
  const text = changed ? ago((Date.now() - changed) / 1000) : "why?";
  const button = line.cells.at(-1).firstChild;
  if (button.textContent === text) return;
  button.textContent = text;
  button.classList.toggle("idle", !changed);
}

export function tick() {
  for (const [id, line] of view.rows) showSince(line, replica.entries.get(id)?.changed);
}

function showCaption() {
  const { size, loading, event, failed } = replica;
  const count = `${size.toLocaleString("en")} ${event ? "event" : "row"}${size === 1 ? "" : "s"}`;
  const text = !replica.topic || (loading && failed) ? "" : loading ? "Waiting for the rows…"
    : size > SHOWN ? `The first ${SHOWN} of ${count}.` : size ? `${count}.` : event ? "Nothing yet." : "No rows in this topic.";
  const also = size === 1 && templateOf(replica.topic)?.columns.length ? alsoIn() : [];
  const held = isHeld() && view.unsorted ? " Order held while you point at a row." : "";
  const signature = [text, held, ...also].join(" ");
  if ($("caption").dataset.text === signature) return;
  $("caption").dataset.text = signature;
  $("caption").replaceChildren(text + held, ...(also.length ? [" Also in"] : []),
    ...also.map((topic) => element("a", { href: "#" + topic, textContent: topic })));
}

function alsoIn() {
  const entry = [...replica.entries.values()].find(({ row }) => row);
  return templates.filter(({ table }) => table === replica.table)
    .map((template) => fill(template, { ...entry.row, ...entry.key }))
    .filter((topic) => topic && topic !== replica.topic);
}

$("body").addEventListener("click", (click) => {
  const row = click.target.closest("tr[data-link]");
  if (row && !click.target.closest("a, button") && !getSelection().toString()) location.hash = row.dataset.link;
});
$("body").addEventListener("pointerover", ({ pointerType }) => { view.held = pointerType === "mouse"; });
$("body").addEventListener("pointerleave", () => { view.held = false; schedule(); });
