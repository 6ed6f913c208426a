// The history's view: a range of dates, and what was measured in it, with the versions of the program marked.

import { daysTold, showDays } from "./costs.js";
import { NONE, count, joined, latency, percent } from "./figures.js";
import { lines } from "./lines.js";
import { Table, element, say } from "./table.js";

const DAY = 86_400;
const BARS = "▁▂▃▄▅▆▇█";
const byId = (id) => document.getElementById(id);
let shown = null; // the document
let asked = 0;

const name = (title) => ({ key: "name", title, words: true, value: (row) => row.label });
const calls = { key: "calls", title: "Calls", value: ({ of }) => of.calls, text: ({ of }) => count(of.calls) };
const failed = { key: "failed", title: "Failed", hasUnit: true, about: "among ok and failed", value: ({ of }) => of.error_rate, text: ({ of }) => percent(of.error_rate) };
const percentile = (key) => ({ key, title: key, hasUnit: true, value: ({ of }) => of[`${key}_latency_ms`], text: ({ of }) => latency(of[`${key}_latency_ms`]) });
const overTime = (title, value) => ({ key: "bars", title, words: true, value: (row) => row.name, text: (row) => [bars(row, value)] });
const OF_CALLS = [calls, failed, percentile("p50"), percentile("p95"), percentile("p99"), overTime("p95 over time", (period) => period.p95_latency_ms)];
const OF_LOOKUPS = [
  { key: "lookups", title: "Lookups", value: ({ of }) => of.hits + of.misses, text: ({ of }) => count(of.hits + of.misses) },
  { key: "rate", title: "Hit rate", hasUnit: true, value: ({ of }) => of.hit_rate, text: ({ of }) => percent(of.hit_rate) },
  overTime("Hit rate over time", (period) => period.hit_rate),
];
const LATENCY = [["p50", "--p50", (of) => of.p50_latency_ms], ["p95", "--p95", (of) => of.p95_latency_ms], ["p99", "--p99", (of) => of.p99_latency_ms]];
const CALLS = [["calls", "--ok", (of) => of.calls], ["failed", "--failed", (of) => of.failed_calls]];
const HITS = [["hit rate", "--ok", (of) => of.hit_rate]];

const tables = {
  tools: table("tools", [name("Tool"), ...OF_CALLS], { key: "calls", down: true }, [["Latency, ms", LATENCY], ["Calls", CALLS]]),
  caches: table("caches", [name("Cache"), ...OF_LOOKUPS], { key: "lookups", down: true }, [["Hit rate, %", HITS]]),
  operations: table("operations", [name("Request"), ...OF_CALLS], { key: "calls", down: true }, [["Latency, ms", LATENCY], ["Requests", CALLS]]),
};

function table(id, columns, sort, charts) {
  return new Table(byId(id), { columns, sort, unfold: () => detail(charts), onChange() {} });
}

/** A bar for each period; blank where nothing was measured. */
function bars({ of }, value) {
  const known = new Map(of.periods.map((period) => [period.start, value(period)]));
  const most = Math.max(...[...known.values()].filter((one) => one !== null), 0);
  return starts().map((start) => {
    const found = known.get(start) ?? null;
    if (found === null) return "\u2007";
    return BARS[found > 0 ? Math.max(1, Math.round((found / most) * 7)) : 0];
  }).join("");
}

function starts() {
  const { since, until, step_seconds: step } = shown;
  return Array.from({ length: Math.ceil((until - since) / step) }, (_, index) => since + index * step);
}

/** What unfolds under a row: its lines over the range. */
function detail(charts) {
  const whole = element("div", "charts");
  return {
    element: whole,
    update({ of }) {
      const marked = shown.versions.filter((one) => one.service === of.service && (of.version === null || of.version === one.version));
      whole.replaceChildren(...charts.map(([title, series]) => lines(title, series, of.periods, shown, marked)));
    },
    close() {},
  };
}

async function ask() {
  const number = ++asked;
  const [since, until] = [midnight("since"), midnight("until", 1)];
  if (!(since < until)) return tell("The first day is after the last.");
  const query = new URLSearchParams({ since, until: Math.min(until, Date.now() / 1000) });
  if (byId("by-version").checked) query.set("by", "version");
  document.documentElement.dataset.asking = "";
  try {
    const answer = await fetch(`history.json?${query}`, { cache: "no-store" });
    const found = await answer.json();
    if (number !== asked) return; // a later question is under way
    if (!answer.ok) return tell(found.error.message);
    show(found);
    const costs = await fetch(`costs.json?${query}`, { cache: "no-store" });
    if (number === asked && costs.ok) showCosts(await costs.json());
  } catch {
    if (number === asked) tell("The process does not answer.");
  } finally {
    if (number === asked) delete document.documentElement.dataset.asking;
  }
}

function show(found) {
  shown = found;
  const total = found.tools.length + found.caches.length + found.operations.length;
  tell(total ? "" : "Nothing was measured in these days.");
  const services = new Set([...found.tools, ...found.caches, ...found.operations].map((one) => one.service));
  for (const [section, one] of Object.entries(tables)) {
    byId(section).closest("section").hidden = !found[section].length;
    one.update(found[section].map((of) => {
      const label = [of.name, of.version, services.size > 1 ? `(${of.service})` : ""].filter(Boolean).join(" ");
      return { name: JSON.stringify([of.service, of.version, of.source, of.name]), label, of, state: "" };
    }));
  }
  say(byId("service"), [...services].join(", ") || "History");
  say(byId("range-told"), `${told(found.since)} to ${told(found.until)}, each bar ${span(found.step_seconds)}`);
  say(byId("versions"), found.versions.length ? `Versions: ${found.versions.map((one) => `${one.version} since ${told(one.first_seen)}`).join(", ")}` : "");
}

function showCosts(found) {
  byId("costs").hidden = !found.days.length;
  say(byId("costs-days-told"), daysTold(found));
  showDays(byId("costs"), found);
}

function tell(text) {
  say(byId("notice"), text);
  byId("notice").hidden = !text;
}

/** Unix seconds of the beginning of a day that was chosen, or of one after it. */
function midnight(id, daysLater = 0) {
  const [year, month, day] = byId(id).value.split("-").map(Number);
  return new Date(year, month - 1, day + daysLater) / 1000;
}

function told(seconds) {
  return new Date(seconds * 1000).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}

function span(seconds) {
  for (const [unit, size] of [["d", DAY], ["h", 3600], ["min", 60]]) if (seconds % size === 0) return `${seconds / size} ${unit}`;
  return joined([String(seconds), "s"]) || NONE;
}

function last(days) {
  const written = (date) => `${date.getFullYear()}-${String(date.getMonth() + 1).padStart(2, "0")}-${String(date.getDate()).padStart(2, "0")}`;
  const now = new Date();
  byId("until").value = written(now);
  byId("since").value = written(new Date(now.getFullYear(), now.getMonth(), now.getDate() - days + 1));
  ask();
}

for (const button of document.querySelectorAll("[data-days]")) button.addEventListener("click", () => last(Number(button.dataset.days)));
byId("range").addEventListener("change", ask);
byId("range").addEventListener("submit", (event) => event.preventDefault());
last(7);
