// The page: asks the process for its document once a second, and shows it.

import { Alerts } from "./alerts.js";
import { Answers } from "./answers.js";
import { cacheDetail, toolDetail } from "./detail.js";
import { NONE, bytes, clock, count, duration, joined, latency, percent, rate } from "./figures.js";
import { History } from "./history.js";
import { Table, say } from "./table.js";

const POLL_MS = 1000;
const PATIENCE_MS = 5000;
const VIEW = "metertap.view";

const history = new History();
history.load();
const view = loadView();
const byId = (id) => document.getElementById(id);
let latest = null; // the document that is shown
let answeredAt = null;
let goneSince = null;
let timer = null;
let asking = false;

const percentile = (key) => ({
  key, title: key, hasUnit: true,
  about: `${key} of the tool’s last calls`,
  value: ({ tool }) => tool[`${key}_latency_ms`],
  text: ({ tool }) => {
    const extrapolated = tool.extrapolated.includes(key);
    const [mark, about] = tool.method === "estimate" ? ["≈", "estimated from another instrumentation’s histogram"]
      : extrapolated ? ["≈", "beyond the longest call: there are too few for this percentile"] : ["", ""];
    return [...latency(tool[`${key}_latency_ms`]), mark, about];
  },
});

const tools = new Table(byId("tools"), {
  sort: view.tools ?? { key: "p95", down: true },
  unfold: (name) => toolDetail(name, history),
  onChange: saveView,
  columns: [
    { key: "name", title: "Tool", words: true, value: (row) => row.name },
    { key: "rate", title: "Calls/s", about: "over the last 10 seconds", value: (row) => row.rate, text: (row) => rate(row.rate) },
    {
      key: "success", title: "Success", hasUnit: true, about: "ok among ok and failed, since counting began",
      value: ({ tool }) => tool.success_rate,
      text: ({ tool, recent }) => [...percent(tool.success_rate), ...(recent?.failed ? ["✕", "failed in the last minute"] : [])],
    },
    percentile("p50"),
    { ...percentile("p95"), share: ({ tool, slowest }) => (tool.p95_latency_ms === null ? null : Math.max(0, tool.p95_latency_ms) / slowest) },
    percentile("p99"),
    { key: "active", title: "Active", about: "calls in progress", value: ({ tool }) => tool.active_calls, text: ({ tool }) => count(tool.active_calls) },
    { key: "calls", title: "Calls", about: "of every outcome, since counting began", value: ({ tool }) => tool.total_calls, text: ({ tool }) => count(tool.total_calls) },
    { key: "error", title: "Last error", words: true, about: "the error type seen last; at first, the most frequent", value: (row) => row.error, text: (row) => [row.error ?? NONE, "", "", row.error ?? ""] },
  ],
});
const caches = new Table(byId("caches"), {
  sort: view.caches ?? { key: "hits", down: false },
  unfold: (name) => cacheDetail(name),
  onChange: saveView,
  columns: [
    { key: "name", title: "Cache", words: true, value: (row) => row.name },
    { key: "hits", title: "Hit rate", hasUnit: true, about: "hits among lookups, since counting began", value: ({ cache }) => cache.hit_rate, text: ({ cache }) => percent(cache.hit_rate), share: ({ cache }) => (cache.hit_rate === null ? null : cache.hit_rate / 100) },
    { key: "rate", title: "Lookups/s", about: "over the last 10 seconds", value: (row) => row.rate, text: (row) => rate(row.rate) },
    { key: "lookups", title: "Lookups", about: "since counting began", value: ({ cache }) => cache.total_requests, text: ({ cache }) => count(cache.total_requests) },
    { key: "evictions", title: "Evictions", about: "since counting began", value: ({ cache }) => cache.evictions, text: ({ cache }) => count(cache.evictions) },
    { key: "entries", title: "Entries", about: "now", value: ({ cache }) => cache.entries, text: ({ cache }) => count(cache.entries) },
    { key: "system", title: "Library", words: true, value: ({ cache }) => cache.system, text: ({ cache }) => [cache.system] },
  ],
});
const alerts = new Alerts();
const answers = new Answers((name) => show(tools, name), (name) => show(caches, name));

function show(table, name) {
  byId("filter").value = "";
  filtered();
  table.show(name);
}

// Asking

async function ask() {
  if (asking) return;
  asking = true;
  clearTimeout(timer);
  const began = performance.now();
  try {
    const found = await metrics();
    if (found) answered(found);
    else gone();
  } finally {
    asking = false;
    if (!document.hidden) timer = setTimeout(ask, Math.max(100, POLL_MS - (performance.now() - began)));
  }
}

/** The process's document; null where it does not answer, or something else does. */
async function metrics() {
  try {
    const answer = await fetch("/metrics", { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
    const found = answer.ok ? await answer.json() : null;
    return found?.tool_metrics ? found : null;
  } catch {
    return null;
  }
}

function answered(found) {
  latest = found;
  const wasGone = goneSince;
  goneSince = null;
  answeredAt = new Date();
  const became = history.add(found);
  delete document.documentElement.dataset.gone;
  if (!found.enabled) notice("Measuring is switched off in this process (PERFORMANCE_METRICS_ENABLED): nothing below changes.");
  else if (became === "new") notice(`Another process answers here since ${clock(answeredAt)}; what is shown is its own.`, 30);
  else if (became === "reset") notice(`Counting began anew at ${clock(answeredAt)}.`, 30);
  else if (wasGone) notice(`It answers again since ${clock(answeredAt)}; nothing was seen of it from ${clock(wasGone)} on.`, 30);
  else if (noticeUntil !== null && Date.now() >= noticeUntil) notice("");
  render();
}

function gone() {
  goneSince ??= answeredAt ?? new Date();
  document.documentElement.dataset.gone = "";
  const since = `since ${clock(goneSince)} (${duration((Date.now() - goneSince) / 1000)})`;
  status("gone", `gone ${since}`);
  document.title = `gone: ${latest?.service.name ?? "metertap"}`;
  notice(latest ? "The process does not answer: it has ended, or hangs. The figures below are its last ones." : "Nothing answers here.");
}

let noticeUntil = 0;

function notice(text, seconds = null) {
  noticeUntil = seconds === null ? (text ? 0 : null) : Date.now() + 1000 * seconds;
  const place = byId("notice");
  say(place, text);
  if (place.hidden !== !text) place.hidden = !text;
}

function status(state, text) {
  const place = byId("status");
  if (place.dataset.state !== state) place.dataset.state = state;
  say(byId("status-text"), text);
}

// Showing

function render() {
  const began = performance.now();
  const { service, system_metrics: system, timestamp: now } = latest;
  const entries = Object.entries(latest.tool_metrics);
  const slowest = Math.max(0.001, ...entries.map(([, tool]) => tool.p95_latency_ms ?? 0));
  const toolRows = entries.map(([name, tool]) => {
    const recent = history.recent(name);
    const state = recent?.failed ? "failing" : tool.total_calls ? "" : "unused";
    return { name, tool, now, slowest, recent, state, rate: history.callRate(name), error: history.lastError(name) };
  });
  const cacheRows = Object.entries(latest.cache_metrics).map(([name, cache]) => ({
    name, cache, state: cache.total_requests ? "" : "unused", rate: history.lookupRate(name),
  }));
  tools.update(toolRows);
  caches.update(cacheRows);
  alerts.update(latest.alerts);
  answers.update(toolRows, cacheRows);
  counts();

  status("live", "live");
  const title = service.name ?? "metertap";
  say(byId("service"), title);
  byId("service").title = [service.version, service.instance_id].filter(Boolean).join(" · ");
  if (document.title !== title) document.title = title;
  const rates = toolRows.map((row) => row.rate).filter((value) => value !== null);
  const cpu = history.cpuShare();
  say(byId("fact-uptime"), duration(system.uptime_seconds));
  say(byId("fact-rate"), rates.length ? rate(rates.reduce((sum, value) => sum + value, 0))[0] : NONE);
  say(byId("fact-active"), joined(count(system.concurrent_requests)));
  say(byId("fact-sessions"), joined(count(system.active_sessions)));
  say(byId("fact-cpu"), cpu === null ? NONE : `${cpu.toFixed(1)} %`);
  say(byId("fact-memory"), bytes(system.process.resident_bytes));
  performance.clearMeasures("metertap.render");
  performance.measure("metertap.render", { start: began });
}

function counts() {
  for (const [id, table, thing] of [["tools", tools, "tool"], ["caches", caches, "cache"]]) {
    const all = table.rows.size;
    const shown = table.shown;
    say(byId(`${id}-count`), shown === all ? String(all) : `${shown} of ${all}`);
    const empty = byId(`${id}-empty`);
    empty.hidden = shown > 0;
    byId(id).hidden = shown === 0;
    say(empty, all ? `No ${thing} has “${byId("filter").value.trim()}” in its name.` : `No ${thing} has been seen yet.`);
  }
}

function filtered() {
  for (const table of [tools, caches]) table.setFilter(byId("filter").value);
  if (latest) counts();
  saveView();
}

// What was chosen, kept over a reload

function loadView() {
  try {
    return JSON.parse(sessionStorage.getItem(VIEW) ?? "{}");
  } catch {
    return {};
  }
}

function saveView() {
  try {
    sessionStorage.setItem(VIEW, JSON.stringify({
      filter: byId("filter").value, tools: tools.sort, caches: caches.sort, tool: tools.open, cache: caches.open,
    }));
  } catch {
    // No storage: a reload begins anew.
  }
}

const THEMES = { "": "as the system has them", light: "light", dark: "dark" };

function nextTheme() {
  const names = Object.keys(THEMES);
  const root = document.documentElement;
  const next = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
  if (next) root.dataset.theme = next;
  else delete root.dataset.theme;
  try {
    localStorage.setItem("metertap.theme", next);
  } catch {
    // It holds until the page is left.
  }
  themed();
}

function themed() {
  const text = `Colours: ${THEMES[document.documentElement.dataset.theme ?? ""]}`;
  byId("theme").title = text;
  byId("theme").setAttribute("aria-label", text);
  if (latest) render(); // charts take their colours when they are drawn
}

byId("filter").addEventListener("input", filtered);
byId("theme").addEventListener("click", nextTheme);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", themed);
document.addEventListener("keydown", (event) => {
  const field = byId("filter");
  if (event.key === "/" && !event.ctrlKey && !event.metaKey && !event.altKey && document.activeElement !== field) {
    field.focus();
    field.select();
    event.preventDefault();
  } else if (event.key === "Escape" && document.activeElement === field) {
    field.value = "";
    filtered();
    field.blur();
  }
});
document.addEventListener("visibilitychange", () => {
  if (document.hidden) {
    clearTimeout(timer);
    history.save();
  } else ask();
});
addEventListener("pagehide", () => history.save());

byId("filter").value = view.filter ?? "";
for (const table of [tools, caches]) table.setFilter(byId("filter").value);
tools.open = view.tool ?? null;
caches.open = view.cache ?? null;
themed();
ask();
