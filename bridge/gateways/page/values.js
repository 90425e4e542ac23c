// Values as they came, and as they are shown.

// 12.50 and 9007199254740993 are no JavaScript numbers; they keep the text they came with.
export class Exact {
  constructor(text) { this.text = text; }
  toString() { return this.text; }
  toJSON() { return JSON.rawJSON ? JSON.rawJSON(this.text) : this.text; }
}

export function parse(text) {
  return JSON.parse(text, (_, value, context) =>
    typeof value === "number" && context?.source && String(value) !== context.source
      ? new Exact(context.source) : value);
}

export const isNumber = (value) => typeof value === "number" || value instanceof Exact;

export function show(value) {
  if (value === null || value === undefined) return "null";
  return typeof value === "object" && !(value instanceof Exact) ? JSON.stringify(value) : String(value);
}

// A moment of today as its time, another to the minute; what is left out is in the title.
export function brief(text) {
  const [, date, time, milliseconds] = /^(\d{4}-\d\d-\d\d)T(\d\d:\d\d)(:\d\d(?:\.\d{1,3})?)\d*(?:Z|\+00:00)$/.exec(text) ?? [];
  if (!date) return text;
  return date === new Date().toISOString().slice(0, 10) ? time + milliseconds : `${date} ${time}`;
}

export function compare(a, b) {
  if (a == null || b == null) return (a == null) - (b == null);
  if (isNumber(a) && isNumber(b)) return Number(a) - Number(b);
  [a, b] = [show(a), show(b)];
  return a < b ? -1 : a > b ? 1 : 0;
}

export const milliseconds = (ms) => `${Math.abs(ms) < 10 ? ms.toFixed(1) : ms.toFixed(0)} ms`;

export const rate = (perSecond) => perSecond >= 9999.5 ? `${(perSecond / 1000).toFixed(1)}k`
  : perSecond >= 9.95 || perSecond === 0 ? perSecond.toFixed(0) : perSecond.toFixed(1);

export function ago(seconds) {
  return seconds < 1 ? "now" : seconds < 60 ? `${Math.floor(seconds)} s`
    : seconds < 3600 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

export function clock(date) {
  return date.toLocaleTimeString("en-GB") + "." + String(date.getMilliseconds()).padStart(3, "0");
}
