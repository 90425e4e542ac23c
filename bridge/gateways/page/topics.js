// Topic templates, and the topics that they make.

import { show } from "./values.js";

export let templates = [];   // {table, text, parts: [{column} | {literal}]}, the specific ones first

function compile(table, text) {
  const parts = text.split("/").map((part) =>
    part.startsWith("{") ? { column: part.slice(1, -1) } : { literal: encodeURIComponent(part) });
  return { table, text, parts, columns: parts.flatMap((part) => part.column ?? []) };
}

function matches(template, topic) {
  const parts = topic.split("/");
  return parts.length === template.parts.length
    && template.parts.every((part, i) => part.column ? parts[i] !== "" : part.literal === parts[i]);
}

export function fill(template, values) {
  if (template.columns.some((column) => values[column] === null || values[column] === undefined)) return null;
  return template.parts.map((part) => part.literal ?? encodeURIComponent(show(values[part.column]))).join("/");
}

export const templateOf = (topic) => templates.find((template) => matches(template, topic));

// All templates, in the config's order; raises where the bridge cannot be asked.
export async function loadTemplates() {
  const { tables } = await (await fetch("/inspector/topics" + location.search)).json();
  const all = tables.flatMap((table) => table.topics.map((text) => compile(table.name, text)));
  const wild = ({ parts }) => parts.map((part) => (part.column ? 1 : 0)).join("");
  templates = all.map((template, i) => ({ template, i })).sort((a, b) =>
    wild(a.template) < wild(b.template) ? -1 : wild(a.template) > wild(b.template) ? 1 : a.i - b.i).map(({ template }) => template);
  return all;
}
