// What the page says, worked out from /status and /history. Nothing here touches the document: words in, words out.

const blip = 3000; // ms: a problem that is younger changes no sentence
const plain = new Intl.NumberFormat("en-US", { maximumFractionDigits: 0 });
const fine = new Intl.NumberFormat("en-US", { maximumFractionDigits: 1 });

/** A count: 12,400, and 1.2 M from a million on. */
export function count(n) {
  if (n >= 1e9) return `${fine.format(n / 1e9)} G`;
  return n >= 1e6 ? `${fine.format(n / 1e6)} M` : plain.format(n);
}

export function records(n) {
  return n === 1 ? "1 record" : `${count(n)} records`;
}

/** A count for where there is little room: 12 k, 1.2 M. */
export function short(n) {
  return n >= 1e4 && n < 1e6 ? `${fine.format(n / 1e3)} k` : n < 10 ? fine.format(n) : count(n);
}

/** Records per second. */
export function rate(n) {
  return n > 0 && n < 0.1 ? "under 0.1" : n < 10 ? fine.format(n) : count(n);
}

export function bytes(n) {
  return n < 1 << 20 ? `${plain.format(n / 1024)} KiB` : `${fine.format(n / (1 << 20))} MiB`;
}

/** A time span in one or two units: 2 s, 4 min, 3 h 20 min, 2 d 4 h. */
export function span(seconds) {
  const s = Math.max(0, seconds);
  if (s < 1) return "under 1 s";
  if (s < 90) return `${Math.round(s)} s`;
  const m = Math.round(s / 60);
  if (m < 90) return `${m} min`;
  const h = Math.floor(m / 60);
  if (h < 36) return m % 60 ? `${h} h ${m % 60} min` : `${h} h`;
  const d = Math.floor(h / 24);
  return h % 24 ? `${d} d ${h % 24} h` : `${d} d`;
}

/** A time of day in the reader's zone; with the date if that is not today's. */
export function clock(date, now, seconds = false) {
  const two = (n) => String(n).padStart(2, "0");
  const time = `${two(date.getHours())}:${two(date.getMinutes())}${seconds ? `:${two(date.getSeconds())}` : ""}`;
  if (date.toDateString() === now.toDateString()) return time;
  return `${date.toLocaleDateString("en-GB", { weekday: "short", day: "numeric", month: "short" })}, ${time}`;
}

/** The records that wait in partitions. A lag is absent while the end of the log is unknown. */
function waiting(partitions) {
  return partitions.reduce((sum, p) => sum + (p.lag ?? 0), 0);
}

/** The holds that stop everything, but for an outage, which has words of its own. The others stop no more than their scope. */
function whole(status) {
  return status.holds.filter((h) => h.scope === "all" && h.reason !== "outage");
}

/** The partitions that are sick, in the order in which they fell sick. A leader that moves makes no one sick. */
function sick(status) {
  const since = (p) => Date.parse(p.problem.since);
  return status.partitions.filter((p) => p.problem && Date.parse(status.time) - since(p) >= blip)
    .sort((a, b) => since(a) - since(b));
}

/**
 * Whether a partition flows though its oldest record has been open for long: behind that record more is settled than
 * waits.
 */
export function passes(p) {
  return p.lag > 0 && p.lag <= 1000 && p.settled_beyond >= p.lag;
}

/** The histories' counts and the present ones, oldest first. A process that started anew counts from zero again. */
export function points(status, samples) {
  const requests = Object.values(status.sender.requests).reduce((sum, n) => sum + n, 0);
  const lag = waiting(status.partitions);
  const present = {
    at: Date.parse(status.time), held: whole(status).length > 0 || status.sender.outage !== null, arrived: status.records.arrived,
    upserted: status.records.upserted, dead: status.records.dead_lettered, skipped: status.records.skipped, inputs: status.sender.inputs, requests, lag,
  };
  const past = samples
    .map((s) => ({ ...s, at: Date.parse(s.at), dead: s.dead_lettered }))
    .filter((s) => s.at < present.at && s.at >= Date.parse(status.started) - 1000);
  return [...past, present];
}

/**
 * What happened between two points, per second. How fast the backlog falls comes of what ended and what came, as the
 * lag itself jumps when partitions come or go.
 */
export function between(a, b) {
  const seconds = Math.max(0.001, (b.at - a.at) / 1000);
  const per = (name) => Math.max(0, b[name] - a[name]) / seconds;
  const settled = per("upserted") + per("dead") + per("skipped");
  return { seconds, arrived: per("arrived"), upserted: per("upserted"), dead: per("dead"), settled, falls: settled - per("arrived"),
    fill: b.requests > a.requests ? (b.inputs - a.inputs) / (b.requests - a.requests) : null };
}

function since(all, seconds) {
  const last = all[all.length - 1];
  for (let i = all.length - 2; i >= 0; i--) {
    if (last.at - all[i].at >= seconds * 1000) return between(all[i], last);
  }
  return between(all[0], last);
}

/**
 * The figures that the sentences and the tiles are made of. lag, age and behind are those of the healthy partitions:
 * a sick one changes nothing of what is said of the others. open is what waits in partitions that flow behind an old
 * record: it makes nothing late.
 */
export function figures(status, samples) {
  const all = points(status, samples);
  const last = all[all.length - 1];
  const now = new Date(status.time);
  const lately = since(all, 10);
  let moved = all[0].at; // when a record was last settled
  for (let i = 1; i < all.length; i++) {
    if (between(all[i - 1], all[i]).settled > 0) moved = all[i].at;
  }
  const ill = sick(status);
  const well = status.partitions.filter((p) => !ill.includes(p));
  const lag = waiting(well);
  const patience = 15 + (status.daily ? status.daily.batch_wait_seconds : 0);
  const passed = well.filter((p) => p.lag_seconds > patience && passes(p));
  const age = well.reduce((oldest, p) => Math.max(oldest, passed.includes(p) ? 0 : p.lag_seconds), 0);
  const behind = age > patience || lag > 1000 && lag > 10 * lately.settled;
  return { now, all, lag, total: last.lag, unknown: status.partitions.filter((p) => p.lag === undefined), sick: ill, healthy: well.length,
    age, behind, passed, open: waiting(passed), lately, patience, still: (last.at - moved) / 1000, seen: (last.at - all[0].at) / 1000,
    fill: since(all, 60).fill, drained: behind ? drained(status, all, lag) : null, limit: limit(status) };
}

/** When the lag will be gone: as the last two minutes went, or as the day's quota says. Null: nobody knows. */
function drained(status, all, lag) {
  const quota = status.daily && status.daily.drained_at ? new Date(status.daily.drained_at) : null;
  const stops = whole(status);
  const short = stops.length > 0 && stops.every((h) => h.reason === "quota" || h.reason === "daily");
  if (short) return quota;
  if (stops.length > 0 || status.sender.outage) return null;
  const last = all[all.length - 1], trend = since(all, 120);
  if (trend.seconds < 10) return quota;
  return trend.falls > 0 ? new Date(last.at + lag / trend.falls * 1000) : null;
}

/** What sets the pace, in a word, a sentence, and a figure; null if nothing does. */
function limit(status) {
  const { rate, daily, sender, limits } = status;
  const own = rate.limit * rate.share;
  if (daily && daily.gap_seconds > 0) {
    return ["The day's quota", `The day's calls run short: one call every ${span(daily.gap_seconds)}, so that they last.`, `one call every ${span(daily.gap_seconds)}`];
  }
  if (!rate.unlimited && own > 0 && rate.in_window >= 0.9 * own) {
    const used = `${count(rate.in_window)} of ${count(rate.limit)} requests in ${span(rate.window_seconds)}`;
    return ["The rate limit", `The account's rate limit sets the pace: ${used} are this replica's.`, used];
  }
  if (sender.in_flight >= limits.max_in_flight) {
    return ["HubSpot's answers", `All ${count(sender.in_flight)} requests are out: HubSpot's answers set the pace.`, `all ${count(sender.in_flight)} requests are out`];
  }
  return null;
}

const held = {
  auth: ["No good token", "HubSpot refuses the token, or gives none"],
  scope: ["Scope missing", "HubSpot refuses the call for want of a scope"],
  config: ["Settings", "HubSpot refuses every record: path or idProperty do not fit"],
  daily: ["The day's quota", "the day's calls are used up"],
  quota: ["The day's quota", "the day's calls are used up"],
  limited: ["A long pause", "an answer with status 429 asks for a pause"],
  migrating: ["Account moves", "HubSpot moves the account to another region"],
  payment: ["Payment", "HubSpot wants the account to pay"],
  blocked: ["All refused", "one request after another is refused and none passes"],
  flood: ["Flood of bad records", "nearly all records of late failed alike"],
  search: ["Bad records", "the search for bad records uses its part of the requests"],
  kafka: ["Kafka", "Kafka is out of reach"],
  commit: ["Kafka", "Kafka refuses commits"],
  dlq: ["Dead-letter topic", "dead letters cannot be written"],
};

function oldest(holds) {
  return holds.reduce((a, b) => (Date.parse(b.since) < Date.parse(a.since) ? b : a));
}

/** A hold in a word and in half a sentence. */
export function holdWords(hold) {
  return held[hold.reason] || [hold.reason, hold.detail];
}

const causes = {
  "missing": "is missing",
  "no-leader": "has no leader",
  "unreachable": "gets no answer from its broker",
  "corrupt": "has a corrupt batch",
  "storage": "has a storage error",
  "unauthorized": "may not be read",
  "open-transaction": "is held by an open transaction",
  "old-format": "has old-format records",
  "too-large": "has an oversized record",
  "error": "fails",
};

/** What is wrong with a partition, and since when: has no leader since 03:12. */
export function sickness({ cause, offset, since }, now) {
  const named = ["corrupt", "open-transaction", "old-format", "too-large"].includes(cause);
  const at = named && offset >= 0 ? ` at offset ${offset}` : "";
  return `${causes[cause] || `has the problem ${cause}`}${at} since ${clock(new Date(since), now)}`;
}

/** The same with the partition's name: tasks/3 has no leader since 03:12. */
function diagnosis(p, now) {
  return `${p.topic}/${p.partition} ${sickness(p.problem, now)}`;
}

/** A hold of a topic, and since when. */
function narrowWords(hold, now) {
  const what = {
    topic: `topic ${hold.scope} is out of reach`, group: "another program is in the consumer group",
    flood: `${hold.scope} is held: nearly all its records failed alike`, record: `record ${hold.scope} fails alone`,
    blocked: `no record of ${hold.scope} passes`, scope: `a scope is missing for ${hold.scope}`, config: `the settings do not fit ${hold.scope}`,
    search: `bad records of ${hold.scope} wait`,
  };
  return `${what[hold.reason] || `${hold.reason} holds ${hold.scope}`} since ${clock(new Date(hold.since), now)}`;
}

/** The holds that stop only a topic, or nothing. Those of partitions are left out: the partitions say it themselves. */
function narrow(status) {
  return status.holds.filter((h) => h.scope !== "all" && h.reason !== "partition");
}

/** What is sick while the rest flows, in two lines at the most; "" if nothing is. */
function ailing(status, f) {
  const said = [];
  if (f.sick.length > 0) {
    const p = f.sick[0];
    said.push(f.sick.length === 1 ? `1 partition is sick: ${diagnosis(p, f.now)}.` :
      `${count(f.sick.length)} partitions are sick. The first, ${p.topic}/${p.partition}, ${sickness(p.problem, f.now)}.`);
  }
  const holds = narrow(status);
  if (said.length === 0 && holds.length > 0) said.push(sentence(narrowWords(holds.shift(), f.now)));
  if (holds.length > 0) said.push(`${count(holds.length)} more below.`);
  return said.join(" ");
}

/** A sentence as it is written: with a capital, and a full stop. */
export function sentence(text) {
  const s = text.trim();
  return s === "" ? "" : stop(s[0].toUpperCase() + s.slice(1));
}

/** Records wait, and none of them ends. */
function stuck(f) {
  return f.lag > f.open && f.still > 30 + f.patience;
}

/** With a full stop. */
function stop(text) {
  return text + (/[.!?]$/.test(text) ? "" : ".");
}

/** What an outage's code means to a person: 503, no answer. */
export function failure(code) {
  return code.startsWith("HTTP_") ? code.slice(5) : code.toLowerCase().replaceAll("_", " ");
}

/**
 * The sentence at the top: its first words, which name the state, and the rest of it. tone is good, busy, bad or idle;
 * more says why, or what to do.
 */
export function say(status, f) {
  const { sender, holds } = status;
  const stops = whole(status);
  const lag = records(f.lag);
  const ill = ailing(status, f);
  const why = ill || (f.limit ? f.limit[1] : "");
  if (status.state === "draining") {
    return { tone: "busy", word: "Stopping", text: ": what was sent is being settled.", more: "The rest is left to the replicas that stay." };
  }
  if (stops.length > 0) {
    const first = oldest(stops);
    const until = first.reason === "quota" && status.daily ? `; sending goes on at ${clock(new Date(status.daily.resets_at), new Date(status.daily.resets_at))}` : "";
    const others = holds.length > 1 ? ` ${holds.length - 1} more below.` : "";
    return { tone: "bad", word: "Held", text: ` since ${clock(new Date(first.since), f.now)}: ${stop(holdWords(first)[1] + until)}`,
      more: sentence(first.remedy) + others };
  }
  if (sender.outage) {
    const at = clock(new Date(sender.outage.since), f.now);
    const wait = f.total === 0 ? "no record waits" : f.total === 1 ? "1 record waits" : `${records(f.total)} wait`;
    return { tone: "bad", word: "HubSpot is down", text: ` since ${at} (${failure(sender.outage.failure)}); ${wait}.`,
      more: `Asked again every ${span(sender.outage.every_seconds)}. It goes on by itself; nothing is dead-lettered for this.` };
  }
  if (status.state === "starting") {
    return { tone: "busy", word: "Starting", text: `: joining the consumer group ${status.group}.`, more: "A rebalance takes some seconds." };
  }
  if (status.partitions.length === 0) {
    const other = foreign(status);
    if (other) return { tone: "bad", word: "Standing by", text: ": another program is in the group.", more: `${sentence(other.detail)} ${sentence(other.remedy)}` };
    return { tone: "idle", word: "Standing by", text: ": this replica has no partition.", more: ill || "There are more replicas than partitions." };
  }
  if (f.healthy === 0) {
    const first = f.sick[0];
    return { tone: "bad", word: "Sick", text: f.sick.length === 1 ? ": the only partition of this replica." : `: all ${count(f.sick.length)} partitions of this replica.`,
      more: `${diagnosis(first, f.now)}. ${sentence(first.problem.remedy)}` };
  }
  if (stuck(f)) {
    return { tone: "bad", word: "Not flowing", text: `: ${lag} wait, and none was settled for ${span(f.still)}.`,
      more: why || "The log says what was tried last." };
  }
  if (f.behind) {
    const end = f.drained ? `, drained about ${clock(f.drained, f.now)} at the present ${status.daily && status.daily.gap_seconds > 0 ? "quota" : "pace"}` :
      f.lately.falls < -0.5 && f.lately.seconds >= 10 ? `, and ${rate(-f.lately.falls)} more each second` : "";
    return { tone: "busy", word: "Behind", text: `: ${lag}${end}.`, more: why || `The oldest one waits for ${span(f.age)}.` };
  }
  if (f.lag > 0 && f.lag === f.open && f.lately.settled < 0.05) {
    return { tone: "good", word: "Up to date", text: `: all but ${lag} ${f.lag === 1 ? "is" : "are"} settled.`, more: ill || openWords(f) };
  }
  if (f.lag === 0 && f.lately.settled < 0.05) {
    const last = f.seen < 15 ? "Nothing holds it." : f.still < f.seen - 1 ? `The last one was settled ${span(f.still)} ago.` : `None came in ${span(f.seen)}.`;
    const every = f.sick.length > 0 ? "every record of the healthy partitions" : "every record";
    return { tone: "good", word: "Up to date", text: `: ${every} is settled.`, more: ill || last };
  }
  const healthy = f.healthy === 1 ? "the healthy partition" : `the ${f.healthy} healthy partitions`;
  const within = f.sick.length > 0 ? healthy : f.healthy === 1 ? "its partition" : "all partitions";
  return { tone: "good", word: "Flowing", text: `: ${rate(f.lately.upserted)} records/s, ${within} within ${span(Math.max(1, Math.ceil(f.age)))}.`, more: why || openWords(f) || deadLately(f) };
}

/** What stays open while its partition flows; empty if nothing does. */
function openWords(f) {
  if (f.passed.length === 0) return "";
  const first = longestOpen(f);
  const others = f.passed.length - 1;
  const where = others > 0 ? `, and in ${others === 1 ? "1 other partition" : `${count(others)} other partitions`},` : "";
  return `In ${first.topic}/${first.partition}${where} a record has been open for ${span(first.lag_seconds)}; the rest passes it.`;
}

/** The partition whose record has been open for longest. */
function longestOpen(f) {
  return f.passed.reduce((a, b) => (b.lag_seconds > a.lag_seconds ? b : a));
}

/** The hold that names another program in the consumer group; undefined if there is none. */
function foreign(status) {
  return status.holds.find((h) => h.reason === "group");
}

function deadLately(f) {
  const n = f.all[f.all.length - 1].dead - f.all[0].dead;
  return n > 0 ? `${records(n)} went to the dead letters in the last ${span(f.seen)}.` : "Nothing holds it.";
}

/** The answers to the four questions, each a figure and a line below it. */
export function answers(status, f) {
  const { sender } = status;
  const stops = whole(status);
  const dead = f.all[f.all.length - 1].dead - f.all[0].dead;
  const flowing = [rate(f.lately.upserted), "records/s", `${rate(f.lately.arrived)}/s come in · ${dead === 0 ? "no" : count(dead)}\u00a0dead letter${dead === 1 ? "" : "s"} in ${span(f.seen)}`];
  const holding = holds(status, f, stops);
  if (status.partitions.length === 0) {
    return { flowing, holding, behind: ["–", "", "Known once a partition is here."], until: ["–", "", ""] };
  }
  const behind = f.unknown.length === status.partitions.length ? ["–", "", lagWords(f)] : [count(f.total), f.total === 1 ? "record" : "records", lagWords(f)];
  let until = ["Now", "", f.sick.length > 0 ? "The healthy partitions have nothing to catch up with." : "Nothing to catch up with."];
  if (f.drained) until = [clock(f.drained, f.now), "", `in ${span((f.drained - f.now) / 1000)}, at the present pace`];
  else if (f.total > 0 && stops.length > 0) until = ["Held", "", "The backlog falls when the hold ends."];
  else if (f.total > 0 && sender.outage) until = ["Unknown", "", "The backlog falls when HubSpot is back."];
  else if (f.healthy === 0) until = ["Unknown", "", "The backlog falls when a partition is healthy again."];
  else if (f.behind) until = ["Unknown", "", f.lately.falls < -0.5 ? "More comes in than leaves." : "Too early to say."];
  return { flowing, holding, behind, until };
}

/** What holds it. */
function holds(status, f, stops) {
  const { sender } = status;
  const more = (n) => (n > 1 ? `, and ${n - 1} more` : "");
  if (stops.length > 0) return [holdWords(oldest(stops))[0], "", `since ${clock(new Date(oldest(stops).since), f.now)}${more(status.holds.length)}`];
  if (sender.outage) return ["HubSpot", "", `fails since ${clock(new Date(sender.outage.since), f.now)}: ${failure(sender.outage.failure)}`];
  if (status.state === "draining") return ["The stop", "", "No record is fetched any more."];
  if (status.partitions.length === 0 && status.state === "starting") return ["The group", "", "It gives out the partitions."];
  const other = narrow(status)[0];
  if (status.partitions.length === 0 && foreign(status)) return ["Another program", "", `in the consumer group since ${clock(new Date(foreign(status).since), f.now)}`];
  if (status.partitions.length === 0 && !other) return ["No partition", "", "Others have them all."];
  if (f.sick.length > 0) return [f.sick.length === 1 ? "1 partition" : `${count(f.sick.length)} partitions`, "", `${diagnosis(f.sick[0], f.now)}${more(f.sick.length)}`];
  if (other) return [{ topic: "1 topic", group: "Another program", flood: "1 partition", record: "1 record" }[other.reason] || "1 topic", "", sentence(narrowWords(other, f.now) + more(narrow(status).length))];
  if (f.limit) return [f.limit[0], "", f.limit[2]];
  if (stuck(f)) return ["Unknown", "", "No hold stands. The log says more."];
  return ["Nothing", "", "No hold stands, and HubSpot answers."];
}

/** The line below how many records wait. */
function lagWords(f) {
  const ill = waiting(f.sick);
  const said = [];
  if (ill > 0) said.push(`${ill === f.total ? "All" : count(ill)} of them in ${f.sick.length === 1 ? "the sick partition" : "sick partitions"}.`);
  if (f.unknown.length === 1) said.push(`Unknown for ${f.unknown[0].topic}/${f.unknown[0].partition}.`);
  if (f.unknown.length > 1) said.push(`Unknown for ${count(f.unknown.length)} partitions.`);
  if (said.length === 0) said.push(f.age > 0 ? `The oldest waits for ${span(f.age)}.` : f.passed.length > 0 ? `Open for ${span(longestOpen(f).lag_seconds)}.` : f.lag > 0 ? "" : "No record waits.");
  return said.join(" ");
}
