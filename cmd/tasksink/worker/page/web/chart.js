// Two small charts over the same quarter of an hour: what flows, and how much waits. Drawn anew at each look, at the
// width that there is, so that its text keeps its size.

import { between, clock, count, rate, short } from "./words.js";

const minutes = 15;
const left = 44, right = 8, top = 8;
const flowHeight = 132, gap = 26, lagHeight = 52, axis = 22;
const height = top + flowHeight + gap + lagHeight + axis;

function make(name, attributes, ...children) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) e.setAttribute(key, value);
  e.append(...children);
  return e;
}

/** The least round number that is not below n. */
function round(n) {
  const power = 10 ** Math.floor(Math.log10(Math.max(1, n)));
  return [1, 1.2, 1.6, 2, 3, 4, 6, 8, 10].map((m) => m * power).find((m) => m >= n);
}

/** The rates of each step between two points. */
export function steps(all) {
  return all.slice(1).map((p, i) => ({ ...between(all[i], p), from: all[i].at, to: p.at, lag: p.lag, held: p.held }))
    .filter((s) => s.seconds > 0.5 || all.length === 2);
}

/** Draws into svg. at is the instant that the reader points at, or null. Returns the step there, or null. */
export function draw(svg, all, at) {
  const width = Math.max(280, svg.clientWidth);
  const end = all[all.length - 1].at, begin = end - minutes * 60_000;
  const x = (t) => left + (Math.max(t, begin) - begin) / (end - begin) * (width - left - right);
  const list = steps(all).filter((s) => s.to > begin);
  const most = round(Math.max(1, ...list.map((s) => Math.max(s.arrived, s.upserted))) * 1.02);
  const mostLag = round(Math.max(1, ...all.map((p) => p.lag)) * 1.02);
  const flow = (v) => top + flowHeight * (1 - v / most);
  const lagTop = top + flowHeight + gap;
  const lag = (v) => lagTop + lagHeight * (1 - v / mostLag);
  const parts = [];
  const line = (kind, x1, y1, x2, y2) => parts.push(make("line", { class: kind, x1, y1, x2, y2 }));
  const text = (kind, px, py, anchor, words) => parts.push(make("text", { class: kind, x: px, y: py, "text-anchor": anchor }, words));

  for (let i = 0; i < list.length; i++) {
    if (!list[i].held) continue;
    const from = list[i].from;
    while (i + 1 < list.length && list[i + 1].held) i++; // one shade, not one beside the other with seams
    parts.push(make("rect", { class: "held", x: x(from), y: top, width: Math.max(1, x(list[i].to) - x(from)), height: lagTop + lagHeight - top }));
  }
  for (const v of [0, most / 2, most]) {
    line("grid", left, flow(v), width - right, flow(v));
    text("tick", left - 8, flow(v) + 4, "end", short(v));
  }
  for (const v of [0, mostLag]) {
    line("grid", left, lag(v), width - right, lag(v));
    text("tick", left - 8, lag(v) + 4, "end", short(v));
  }
  for (let m = 0; m <= minutes; m += width < 480 ? 5 : 3) {
    const t = end - m * 60_000;
    text("tick", x(t), height - 5, m === 0 ? "end" : m === minutes ? "start" : "middle", m === 0 ? "now" : `${m} min`);
  }
  if (list.length > 0) {
    const path = (name, y) => list.map((s, i) => `${i ? "" : `M${x(s.from)} ${y(s[name])}`}L${x((s.from + s.to) / 2)} ${y(s[name])}`).join("") +
      `L${x(end)} ${y(list[list.length - 1][name])}`;
    const lags = `M${x(list[0].from)} ${lag(list[0].lag)}` + list.map((s) => `L${x(s.to)} ${lag(s.lag)}`).join("");
    parts.push(make("path", { class: "area", d: `${path("upserted", flow)}L${x(end)} ${flow(0)}L${x(list[0].from)} ${flow(0)}Z` }));
    parts.push(make("path", { class: "lag-area", d: `${lags}L${x(end)} ${lag(0)}L${x(list[0].from)} ${lag(0)}Z` }));
    parts.push(make("path", { class: "arrived", d: path("arrived", flow) }));
    parts.push(make("path", { class: "upserted", d: path("upserted", flow) }));
    parts.push(make("path", { class: "lag", d: lags }));
    for (const s of list) { // next to a thousand upserts a dead letter would not show: it has a mark below the line
      if (s.dead > 0) parts.push(make("rect", { class: "dead", x: x(s.from), y: flow(0) + 3, width: Math.max(2, x(s.to) - x(s.from) - 1), height: 5 }));
    }
  }
  const found = at === null ? null : list.find((s) => x(s.from) <= at && at < x(s.to)) || null;
  if (found) line("cursor", x((found.from + found.to) / 2), top, x((found.from + found.to) / 2), lagTop + lagHeight);
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("height", height);
  svg.replaceChildren(...parts);
  return found;
}

/** The same for those who do not see it: one row for each minute, the last one first. */
export function rows(all, now) {
  const list = [];
  for (let last = all.length - 1; last > 0;) {
    let first = last;
    while (first > 0 && all[last].at - all[first].at < 60_000) first--;
    const step = between(all[first], all[last]);
    const stood = all.slice(first + 1, last + 1).some((p) => p.held);
    list.push([clock(new Date(all[last].at), now, true), rate(step.arrived), rate(step.upserted), count(Math.round(step.dead * step.seconds)), count(all[last].lag), stood ? "held" : "flowing"]);
    last = first;
  }
  return list.slice(0, minutes);
}
