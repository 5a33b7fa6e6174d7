// The page asks /status each second and /history every five, and shows what they say. Everything is inserted as text:
// HubSpot's words, and the events', may be hostile.

import { draw, rows } from "./chart.js";
import { answers, bytes, clock, count, figures, rate, say, sentence, sickness, span } from "./words.js";

const second = 1000, longestPause = 15 * second, shownPartitions = 20, shownHolds = 10;
const $ = (id) => document.getElementById(id);

const narrow = matchMedia("(max-width: 40rem)"); // as in page.css

let samples = [], asked = 0;     // the history, and when it was asked for
let status = null;               // the last answer
let silent = null;               // since when there is none
let pause = second, timer = 0, asking = false, pointed = null;

/** Text is only touched where it changed, so that selections and screen readers are left in peace. */
function put(e, text) {
  if (e.textContent !== text) e.textContent = text;
}

/** The same, with the names of settings set apart, so that they neither break nor pass for words. */
function rich(e, text) {
  if (e.textContent === text) return;
  e.replaceChildren(...text.split(/(--[a-z][a-z-]*[a-z])/).map((part, i) => (i % 2 ? element("code", "", part) : part)));
}

function element(name, kind, text) {
  const e = document.createElement(name);
  if (kind) e.className = kind;
  if (text !== undefined) e.textContent = text;
  return e;
}

/** Keeps as many children as there are items, and lets fill show each item in its child. */
function each(parent, items, create, fill) {
  while (parent.children.length > items.length) parent.lastElementChild.remove();
  while (parent.children.length < items.length) parent.append(create());
  items.forEach((item, i) => fill(parent.children[i], item));
}

function row(kinds) {
  return () => {
    const tr = element("tr");
    kinds.forEach((kind, i) => {
      const cell = element(i ? "td" : "th", kind);
      if (i === 0) cell.scope = "row";
      tr.append(cell);
    });
    return tr;
  };
}

async function ask(path) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5 * second) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function look() {
  if (asking || document.hidden) return;
  asking = true;
  clearTimeout(timer);
  try {
    const wanted = Date.now() - asked >= 5 * second;
    const [s, h] = await Promise.all([ask("status"), wanted ? ask("history") : null]);
    status = s;
    if (h) [samples, asked] = [h.samples, Date.now()];
    [silent, pause] = [null, second];
  } catch {
    silent ??= new Date();
    pause = Math.min(pause * 2, longestPause);
  }
  asking = false;
  if (!document.hidden) timer = setTimeout(look, pause);
  show();
}

function show() {
  const now = new Date();
  document.body.classList.toggle("stale", silent !== null);
  if (silent) {
    const text = ` since ${clock(silent, now, true)}.`;
    hero({ tone: "gone", word: "No answer", text, more: `The process has stopped, or cannot be reached. Asked again every ${span(pause / second)}.` });
    put($("fresh"), "no answer");
    return;
  }
  const f = figures(status, samples);
  hero(say(status, f));
  put($("fresh"), clock(f.now, f.now, true));
  put($("instance"), status.instance);
  put($("group"), `group ${status.group}`);
  for (const [name, [figure, unit, line]] of Object.entries(answers(status, f))) {
    put($(name), figure);
    put($(`${name}-unit`), unit);
    put($(`${name}-line`), line);
    $(name).parentElement.classList.toggle("wordy", /[a-z]{2}/i.test(figure));
  }
  $("holding").classList.toggle("bad", status.holds.length > 0 || status.sender.outage !== null || f.sick.length > 0);
  flow(f);
  holds(f);
  pace(f);
  load(f);
  partitions(f);
  dead(f);
  const b = status.build;
  put($("build"), `tasksink ${b.version}${b.revision ? ` (${b.revision.slice(0, 12)}${b.modified ? ", modified" : ""})` : ""}, ${b.go} · runs since ${clock(new Date(status.started), f.now)}`);
}

function hero({ tone, word, text, more }) {
  document.body.dataset.tone = tone;
  if ($("word").textContent !== word) $("announce").textContent = word + text; // figures change each second: only a new state is read out
  document.title = `${word} · tasksink`;
  put($("word"), word);
  put($("text"), text);
  rich($("more"), more);
}

function flow(f) {
  const step = draw($("chart"), f.all, pointed);
  const shown = step || f.lately;
  put($("legend-upserted"), rate(shown.upserted));
  put($("legend-arrived"), rate(shown.arrived));
  put($("legend-dead"), count(Math.round(shown.dead * shown.seconds)));
  put($("legend-lag"), count(step ? step.lag : f.total));
  each($("minutes"), rows(f.all, f.now), row(["", "n", "n", "n", "n", ""]), (tr, cells) => cells.forEach((text, i) => put(tr.children[i], text)));
}

/** What a hold stops. */
function scope(hold) {
  if (hold.scope === "all") return "holds everything";
  return hold.reason === "group" ? `concerns ${hold.scope}` : `holds only ${hold.scope}`;
}

function holds(f) {
  each($("holds"), status.holds.slice(0, shownHolds), () => {
    const li = element("li");
    li.append(element("h3"), element("p", "remedy"), element("p", "note"));
    return li;
  }, (li, hold) => {
    const [title, remedy, note] = li.children;
    put(title, sentence(hold.detail));
    rich(remedy, sentence(hold.remedy));
    put(note, `${hold.reason} · ${scope(hold)} · since ${clock(new Date(hold.since), f.now)}, ${span((f.now - Date.parse(hold.since)) / 1000)}`);
    li.classList.toggle("narrow", hold.scope !== "all");
  });
  const more = status.holds.length - shownHolds;
  $("holds-more").hidden = more <= 0;
  put($("holds-more"), `${more} more are in /status.`);
  const o = status.sender.outage;
  put($("breaker"), o ? `${status.breaker} since ${clock(new Date(o.since), f.now)}, asks every ${span(o.every_seconds)}` : "closed: HubSpot answers");
  $("holds").classList.toggle("none", status.holds.length === 0);
}

/** Shows a bar of value / most, in words too. */
function meter(id, value, most, words, note = "") {
  const e = $(id);
  put(e.querySelector("b"), words);
  const bar = e.querySelector(".bar");
  const part = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
  bar.firstElementChild.style.inlineSize = `${(part * 100).toFixed(1)}%`;
  bar.setAttribute("aria-label", `${Math.round(part * 100)} %`);
  const p = e.querySelector(".note");
  if (p) put(p, note);
}

function pace(f) {
  const { rate: r, daily: d } = status;
  if (r.unlimited) {
    meter("rate", 0, 1, "unlimited", "--hubspot-rate=0");
  } else {
    const share = Math.round(r.share * r.limit * 10) / 10;
    meter("rate", r.in_window, r.limit, `${count(r.in_window)} of ${count(r.limit)} in ${span(r.window_seconds)}`,
      `This replica's share is ${share}; others used ${count(r.others)} lately.`);
    $("rate").querySelector(".bar").style.setProperty("--share", `${(r.share * 100).toFixed(1)}%`);
  }
  if (!d) {
    meter("daily", 0, 1, "no limit known", "HubSpot has named none.");
    return;
  }
  const slow = d.gap_seconds > 0 ? ` One call every ${span(d.gap_seconds)}.` : d.batch_wait_seconds > 2 ? ` Batches wait ${span(d.batch_wait_seconds)} to fill.` : "";
  const zone = { observed: "as observed", "assumed UTC": "midnight UTC, assumed" }[d.zone] ?? `midnight in ${d.zone}`;
  meter("daily", d.remaining, d.limit, `${count(d.remaining)} of ${count(d.limit)}`,
    `Begins anew ${clock(new Date(d.resets_at), f.now)} (${zone}).${slow}`);
}

function load(f) {
  const { sender, limits, records: r } = status;
  const fill = Math.min(limits.batch_size, Math.round(f.fill ?? 0)); // inputs count when they leave, requests when they are answered
  meter("fill", fill, limits.batch_size, f.fill === null ? "no request" : `${fill} of ${limits.batch_size}`);
  meter("flight", sender.in_flight, limits.max_in_flight, `${count(sender.in_flight)} of ${count(limits.max_in_flight)}`);
  meter("pending", Math.max(r.pending / limits.max_pending, r.pending_bytes / limits.max_pending_bytes), 1,
    `${count(r.pending)} of ${count(limits.max_pending)}`, `${bytes(r.pending_bytes)} of ${bytes(limits.max_pending_bytes)}`);
}

function partitions(f) {
  // Those that are sick come first, then those that are behind, the worst of them on top; the others stay in order, or
  // they would dance.
  const late = (p) => (p.lag_seconds > f.patience && !f.passed.includes(p) || p.lag > 1000 ? p.lag ?? 0 : 0);
  const sorted = [...status.partitions].sort((a, b) => (b.problem !== null) - (a.problem !== null) || late(b) - late(a));
  const most = Math.max(1000, ...sorted.map((p) => p.lag ?? 0));
  const several = new Set(sorted.map((p) => p.topic)).size > 1;
  const fill = (tr, p) => {
    const [name, lag, spark, age, committed] = tr.children;
    put(name, `${p.topic} / ${p.partition}`);
    put(lag, p.lag === undefined ? "–" : count(p.lag));
    lag.title = p.lag === undefined ? "unknown" : "";
    if (!spark.firstChild) spark.append(element("i"));
    spark.firstChild.style.inlineSize = `${((p.lag ?? 0) / most * 100).toFixed(1)}%`;
    put(age, p.lag_seconds > 0 ? span(p.lag_seconds) : p.lag > 0 ? "not read yet" : "–");
    put(committed, p.committed < 0 ? "never" : p.committed.toLocaleString("en-US"));
    tr.classList.toggle("sick", p.problem !== null);
    tr.classList.toggle("late", p.problem === null && late(p) > 0);
  };
  const why = (tr, { problem }) => {
    rich(tr.firstChild, `${sentence(sickness(problem, f.now))} ${sentence(problem.remedy)}`);
    tr.firstChild.colSpan = narrow.matches ? 3 : 5; // the columns that are shown
  };
  partitionRows($("worst"), sorted.slice(0, shownPartitions), fill, why);
  partitionRows($("rest"), sorted.slice(shownPartitions), fill, why);
  const more = sorted.length - shownPartitions;
  $("others").hidden = more <= 0;
  put($("others").firstElementChild, `${more} more, none of them worse`);
  const ill = sorted.filter((p) => p.problem).length;
  const behind = sorted.filter((p) => !p.problem && late(p) > 0).length;
  put($("partitions-note"), `${sorted.length} ${several ? "of several topics " : ""}here, ${ill > 0 ? `${ill} sick, ` : ""}${behind === 0 ? "none" : behind} behind`);
}

/** Keeps a row for each partition, and below a sick one another, of one cell, that says why. */
function partitionRows(body, list, fill, why) {
  const cell = () => {
    const tr = element("tr", "why");
    tr.append(element("td", "note"));
    return tr;
  };
  const rows = list.flatMap((p) => (p.problem ? [[p, false], [p, true]] : [[p, false]]));
  while (body.children.length > rows.length) body.lastElementChild.remove();
  rows.forEach(([p, says], i) => {
    const had = body.children[i];
    if (!had || had.classList.contains("why") !== says) {
      const tr = says ? cell() : row(["", "n", "spark", "n", "n far"])();
      if (had) had.replaceWith(tr);
      else body.append(tr);
    }
    (says ? why : fill)(body.children[i], p);
  });
}

function dead(f) {
  const { reasons, queued, truncated } = status.dead_letters;
  const extra = (queued > 0 ? `, ${count(queued)} being written` : "") + (truncated > 0 ? `, ${count(truncated)} without their value, as they were too large` : "");
  put($("dead-note"), `${count(status.records.dead_lettered)} since the start${extra}`);
  each($("reasons"), reasons, () => {
    const li = element("li");
    li.append(element("h3"), element("p", "n"), element("p", "meaning"), element("p", "note"));
    return li;
  }, (li, r) => {
    const [title, letters, meaning, note] = li.children;
    put(title, [r.category, r.code, r.property].filter(Boolean).join(" · ") || "no reason given");
    put(letters, count(r.letters));
    rich(meaning, r.meaning || "HubSpot's own code; the letter's message says more.");
    put(note, `last ${clock(new Date(r.last), f.now)} · ${r.stage === "decode" ? "no task event" : "refused by HubSpot"}`);
  });
  $("reasons").classList.toggle("none", reasons.length === 0);
}

$("chart").addEventListener("pointermove", (e) => {
  pointed = e.clientX - $("chart").getBoundingClientRect().left;
  if (status && !silent) flow(figures(status, samples));
});
$("chart").addEventListener("pointerleave", () => {
  pointed = null;
  if (status && !silent) flow(figures(status, samples));
});
addEventListener("resize", () => { if (status && !silent) show(); });
document.addEventListener("visibilitychange", () => {
  clearTimeout(timer);
  if (!document.hidden) look();
});
look();
