// What passes through the bridge, from /metrics: rates with their last minute, and latency.

import { $, element, svg } from "./dom.js";
import { ages } from "./rows.js";
import { milliseconds, rate } from "./values.js";

const POINTS = 60, HEIGHT = 30, WINDOW = 60;
let sample = null;

const stages = [...document.querySelectorAll("[data-rate]")].map((stage) => {
  const chart = svg("svg", { viewBox: `0 0 ${POINTS - 1} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const paths = [0, 1].map(() => chart.appendChild(svg("path")));
  const number = element("span", { textContent: "–" });
  stage.querySelector("h2").after(element("p", { className: "rate" }, number, element("small", { textContent: " /s" })), chart);
  return { stage, number, paths, metric: stage.dataset.rate, points: [] };
});

// One number per metric, a sum over its labels; the latency's buckets by their limit.
function parseMetrics(text) {
  const values = new Map(), counts = new Map();
  for (const [, metric, labels, value] of text.matchAll(/^([a-zA-Z_:][\w:]*)(\{.*\})? (\S+)/gm)) {
    values.set(metric, (values.get(metric) ?? 0) + Number(value));
    const limit = metric === "rowcast_latency_seconds_bucket" && /le="([^"]+)"/.exec(labels)?.[1];
    if (limit) counts.set(limit, (counts.get(limit) ?? 0) + Number(value));
  }
  const buckets = [...counts].map(([limit, count]) => ({ limit: limit === "+Inf" ? Infinity : Number(limit), count }));
  return { values, buckets };
}

export async function poll() {
  try {
    const answer = await fetch("/metrics", { signal: AbortSignal.timeout(3000) });
    if (!answer.ok) throw new Error(answer.status);
    const now = { ...parseMetrics(await answer.text()), at: performance.now() };
    if (sample) for (const stage of stages) addPoint(stage, sample, now);
    showLatency(sample, now);
    sample = now;
    showGauges(now.values);
  } catch { sample = null; }
}

function addPoint(stage, before, now) {
  const [from, to] = [before, now].map(({ values }) => values.get(stage.metric) ?? 0);
  const perSecond = Math.max(0, to - from) / ((now.at - before.at) / 1000);
  if (stage.points.push(perSecond) > POINTS) stage.points.shift();
  stage.number.textContent = rate(perSecond);
  stage.stage.classList.toggle("busy", perSecond > 0);
  drawLine(stage);
}

function drawLine({ points, paths }) {
  const top = Math.max(1, ...points), left = POINTS - points.length;
  const line = points.map((value, i) => `${left + i},${(HEIGHT - 1 - (HEIGHT - 2) * value / top).toFixed(2)}`).join("L");
  paths[0].setAttribute("d", `M${line}`);
  paths[1].setAttribute("d", `M${left},${HEIGHT - 1}L${line}L${POINTS - 1},${HEIGHT - 1}Z`);
}

// ── Latency: how many took up to how long, in the last minute ─────────────────
const minute = [];   // per poll: how many fell into each bucket

function showLatency(before, { buckets }) {
  const reset = !before || buckets.some(({ count }, i) => count < (before.buckets[i]?.count ?? 0));
  if (reset) { minute.length = 0; return; }
  const own = ({ count }, i, all) => count - (all[i - 1]?.count ?? 0);
  const earlier = before.buckets.map(own);
  // A histogram is not there before its first count.
  minute.push(buckets.map(own).map((count, i) => count - (earlier[i] ?? 0)));
  if (minute.length > WINDOW) minute.shift();
  const counts = buckets.map((_, i) => minute.reduce((sum, one) => sum + (one[i] ?? 0), 0));
  drawBars(counts, buckets);
  $("median").textContent = upTo(counts, buckets, 0.5);
  $("slowest").textContent = upTo(counts, buckets, 0.99);
}

// The limit of the bucket in which that share is reached.
function upTo(counts, buckets, share) {
  const all = counts.reduce((sum, count) => sum + count, 0);
  if (!all) return "–";
  let sum = 0;
  const { limit } = buckets[counts.findIndex((count) => (sum += count) >= share * all)];
  return limit === Infinity ? `over ${milliseconds(buckets.at(-2).limit * 1000)}` : `≤ ${short(limit)}`;
}

const short = (seconds) => seconds >= 1 ? `${seconds} s` : `${seconds * 1000} ms`;

function drawBars(counts, buckets) {
  const top = Math.max(1, ...counts), step = 100 / counts.length;
  $("latency").replaceChildren(...counts.map((count, i) => {
    const height = count ? Math.max(1.5, HEIGHT * count / top) : 0.5;
    const bar = svg("rect", { x: i * step, y: HEIGHT - height, width: step - 1.5, height });
    const title = svg("title");
    title.textContent = `${buckets[i].limit === Infinity ? "longer" : `up to ${short(buckets[i].limit)}`}: ${count}`;
    bar.append(title);
    return bar;
  }));
}

function showGauges(values) {
  for (const dd of document.querySelectorAll("[data-gauge]")) dd.textContent = (values.get(dd.dataset.gauge) ?? 0).toLocaleString("en");
  for (const dd of document.querySelectorAll("[data-share]")) dd.textContent = `${((values.get(dd.dataset.share) ?? 0) * 100).toFixed(1)} %`;
  for (const dd of document.querySelectorAll("[data-seconds]")) {
    const seconds = values.get(dd.dataset.seconds);
    dd.textContent = seconds > 0 ? milliseconds(seconds * 1000) : "–";
  }
  if (ages.length) $("age").textContent = `${[...ages].sort((a, b) => a - b)[ages.length >> 1]} ms`;
}
