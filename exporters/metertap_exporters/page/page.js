// The page: asks the process for its document once a second, and shows it.

import { Alerts } from "./alerts.js";
import { Answers } from "./answers.js";
import { Costs } from "./costs.js";
import { cacheDetail, operationDetail, toolDetail, weightDetail } from "./detail.js";
import { NONE, bytes, clock, count, duration, errors, joined, latency, percent, percentile, rate } from "./figures.js";
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

/** The column of a percentile of what `of` finds in a row: a tool or an operation. */
const percentileColumn = (key, of) => ({
  key, title: key, hasUnit: true,
  about: `${key} of the last calls`,
  value: (row) => percentile(of(row), key)[0],
  text: (row) => {
    const [ms, mark, about] = percentile(of(row), key);
    return [...latency(ms), mark, about];
  },
  share: key === "p95" ? (row) => share(percentile(of(row), key)[0], row.slowest) : undefined,
});
const share = (ms, slowest) => (ms === null ? null : Math.max(0, ms) / slowest);
const slowestOf = (all) => Math.max(0.001, ...all.map((one) => percentile(one, "p95")[0] ?? 0));
const toolOf = ({ tool }) => tool;
const tokens = (number) => (number === null || number === undefined ? count(null) : [count(number)[0], "", "≈", "estimated from bytes"]);
const operationOf = ({ operation }) => operation;

const OWN_TOOLS = " Tools of MCP and of agent frameworks are found by themselves. Functions of your own become tools by @metertap.tool, by measure_tool or by a line of configuration.";
const tools = new Table(byId("tools"), {
  sort: view.tools ?? { key: "p95", down: true },
  unfold: (name) => toolDetail(name, history),
  onChange: saveView,
  columns: [
    { key: "name", title: "Tool", words: true, value: (row) => row.name },
    { key: "rate", title: "Calls/s", about: "over the last 10 seconds at most", value: (row) => row.rate, text: (row) => rate(row.rate) },
    {
      key: "success", title: "Success", hasUnit: true, about: "ok among ok and failed, since counting began",
      value: ({ tool }) => tool.success_rate,
      text: ({ tool, recent }) => [...percent(tool.success_rate), ...(recent?.failed ? ["✕", "failed in the last minute"] : [])],
    },
    percentileColumn("p50", toolOf),
    percentileColumn("p95", toolOf),
    percentileColumn("p99", toolOf),
    { key: "active", title: "Active", about: "calls in progress", value: ({ tool }) => tool.active_calls, text: ({ tool }) => count(tool.active_calls) },
    { key: "calls", title: "Calls", about: "of every outcome, since counting began", value: ({ tool }) => tool.total_calls, text: ({ tool }) => count(tool.total_calls) },
    { key: "errors", title: "Errors", words: true, about: "since counting began, the most frequent first; a caller’s error and a cancelled call are not failures", value: (row) => row.errors, text: (row) => [row.errors ?? NONE, "", "", row.errors ?? ""] },
  ],
});
const caches = new Table(byId("caches"), {
  sort: view.caches ?? { key: "hits", down: false },
  unfold: (name) => cacheDetail(name),
  onChange: saveView,
  columns: [
    { key: "name", title: "Cache", words: true, value: (row) => row.name },
    { key: "hits", title: "Hit rate", hasUnit: true, about: "hits among lookups, since counting began", value: ({ cache }) => cache.hit_rate, text: ({ cache }) => percent(cache.hit_rate), share: ({ cache }) => (cache.hit_rate === null ? null : cache.hit_rate / 100) },
    { key: "rate", title: "Lookups/s", about: "over the last 10 seconds at most", value: (row) => row.rate, text: (row) => rate(row.rate) },
    { key: "lookups", title: "Lookups", about: "since counting began", value: ({ cache }) => cache.total_requests, text: ({ cache }) => count(cache.total_requests) },
    { key: "evictions", title: "Evictions", about: "since counting began", value: ({ cache }) => cache.evictions, text: ({ cache }) => count(cache.evictions) },
    { key: "entries", title: "Entries", about: "now", value: ({ cache }) => cache.entries, text: ({ cache }) => count(cache.entries) },
    { key: "system", title: "Library", words: true, value: ({ cache }) => cache.system, text: ({ cache }) => [cache.system] },
  ],
});
const operations = new Table(byId("operations"), {
  sort: view.operations ?? { key: "p95", down: true },
  unfold: () => operationDetail(),
  onChange: saveView,
  columns: [
    { key: "name", title: "Request", words: true, value: (row) => row.label },
    { key: "success", title: "Success", hasUnit: true, about: "without an error of any kind, since counting began", value: ({ operation }) => operation.success_rate, text: ({ operation }) => percent(operation.success_rate) },
    percentileColumn("p50", operationOf),
    percentileColumn("p95", operationOf),
    percentileColumn("p99", operationOf),
    { key: "calls", title: "Requests", about: "since counting began", value: ({ operation }) => operation.total_calls, text: ({ operation }) => count(operation.total_calls) },
    { key: "side", title: "Seen by", words: true, about: "the server that answered, or the client that asked", value: ({ operation }) => operation.side, text: ({ operation }) => [operation.side] },
  ],
});
const weights = new Table(byId("weights"), {
  sort: view.weights ?? { key: "definition", down: true },
  unfold: () => weightDetail(),
  onChange: saveView,
  columns: [
    { key: "name", title: "Tool", words: true, value: (row) => row.name },
    { key: "definition", title: "Definition, tokens", about: "in every session, estimated from its bytes", value: ({ definition }) => definition?.tokens ?? null, text: ({ definition }) => tokens(definition?.tokens) },
    { key: "context", title: "Of context", hasUnit: true, about: "of the model’s context window (METERTAP_CONTEXT_WINDOW)", value: ({ definition }) => definition?.context_share ?? null, text: ({ definition }) => percent(definition?.context_share) },
    { key: "p95", title: "Result p95, tokens", about: "of the last results, estimated from their bytes", value: ({ results }) => results?.p95_tokens ?? null, text: ({ results }) => tokens(results?.p95_tokens) },
    { key: "largest", title: "Largest, tokens", about: "since counting began", value: ({ results }) => results?.max_tokens ?? null, text: ({ results }) => tokens(results?.max_tokens) },
    { key: "day", title: "A day, tokens", about: "of results, at the rate since counting began", value: ({ results }) => results?.tokens_per_day ?? null, text: ({ results }) => tokens(results?.tokens_per_day) },
  ],
});
const alerts = new Alerts();
const costs = new Costs();
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
    const answer = await fetch(`metrics${location.search}`, { cache: "no-store", signal: AbortSignal.timeout(PATIENCE_MS) });
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

/** Names the workers whose figures these are, each a link to its own, and counts those that ended. */
function showWorkers({ workers: running, ended_workers: ended, killed_workers: killed }) {
  const place = byId("workers");
  const workers = running ?? [];
  place.hidden = !workers.length;
  if (!workers.length) return;
  const past = [
    ended && `${ended} ended, whose calls are counted but not in percentiles`,
    killed && `${killed} killed: up to its last second may be missing`,
  ].filter(Boolean).join("; ");
  const told = JSON.stringify([past, workers.map(({ pid, state }) => [pid, state])]);
  if (place.dataset.told === told) return;
  place.dataset.told = told;
  const links = workers.map(({ pid, state, age_seconds: age, reason }) => {
    const link = document.createElement("a");
    link.href = `?worker=${pid}`;
    link.textContent = state === "not reached" || state === "left" ? `${pid} (${state})` : pid;
    link.title = [state, reason, `figures of ${Math.round(age)} s ago`].filter(Boolean).join(" · ");
    return link;
  });
  const all = document.createElement("a");
  all.href = location.pathname;
  all.textContent = workers.length === 1 && location.search ? "all workers" : `${workers.length} workers`;
  place.replaceChildren(all, ...links.flatMap((link) => [" ", link]), past && ` (${past})`);
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
  const slowest = slowestOf(entries.map(([, tool]) => tool));
  const toolRows = entries.map(([name, tool]) => {
    const recent = history.recent(name);
    const state = recent?.failed ? "failing" : tool.total_calls ? "" : "unused";
    return { name, tool, now, slowest, recent, state, rate: history.callRate(name), errors: errors(tool).map(([type, number, mark]) => `${type} ${number}${mark}`).join(", ") || null };
  });
  const cacheRows = Object.entries(latest.cache_metrics).map(([name, cache]) => ({
    name, cache, state: cache.total_requests ? "" : "unused", rate: history.lookupRate(name),
  }));
  const found = latest.operations ?? [];
  const slowestRequest = slowestOf(found);
  const operationRows = found.map((operation) => {
    const label = operation.name === null ? operation.method : `${operation.method} ${operation.name}`;
    return { name: `${operation.side} ${label}`, label, operation, now, slowest: slowestRequest, state: "" };
  });
  tools.update(toolRows);
  caches.update(cacheRows);
  operations.update(operationRows);
  byId("mcp").hidden = !found.length && !latest.sessions?.length;
  say(byId("sessions"), sessionsTold(latest.sessions ?? []));
  showWeights(latest.weight_metrics ?? null);
  alerts.update(latest.alerts);
  costs.update(latest.cost_metrics);
  answers.update(toolRows, cacheRows, history.watched());
  counts();

  status("live", "live");
  const title = service.name ?? "metertap";
  say(byId("service"), title);
  byId("service").title = [service.version, service.instance_id].filter(Boolean).join(" · ");
  if (document.title !== title) document.title = title;
  showWorkers(latest);
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

function showWeights(found) {
  weights.update(Object.entries(found?.tools ?? {}).map(([name, { source, side, definition, results }]) => ({
    name, source, side, definition, results, state: "",
  })));
  byId("weight").hidden = !found;
  const perDay = Object.values(found?.tools ?? {}).some(({ results }) => results && results.tokens_per_day !== null);
  const basis = perDay ? [`A day is the rate of the ${duration(latest.system_metrics.uptime_seconds)} since counting began, over 24 hours.`] : [];
  const told = Object.entries(found?.sources ?? {}).map(([source, one]) =>
    `A session with ${source} begins with ≈ ${joined(count(one.definition_tokens))} tokens of definitions, ${joined(percent(one.context_share))} of the context.`);
  say(byId("weight-told"), [...told, ...basis, ...(found?.recommendations ?? []).map((one) => `${one.text} (${one.arithmetic}).`)].join(" "));
}

/** One sentence of the sessions that have ended. */
function sessionsTold(sessions) {
  const told = sessions.map((one) => {
    const durations = one.p50_duration_ms === null ? joined(latency(one.max_duration_ms))
      : `half of them within ${joined(latency(one.p50_duration_ms))}, the longest ${joined(latency(one.max_duration_ms))}`;
    const failed = one.failed_sessions ? `, ${joined(count(one.failed_sessions))} by an error` : "";
    return `${joined(count(one.ended_sessions))} as ${one.side} (${durations}${failed})`;
  });
  return told.length ? `Sessions that have ended: ${told.join("; ")}.` : "";
}

function counts() {
  for (const [id, table, thing] of [["tools", tools, "tool"], ["caches", caches, "cache"], ["operations", operations, "request"], ["weights", weights, "tool"]]) {
    const all = table.rows.size;
    const shown = table.shown;
    say(byId(`${id}-count`), shown === all ? String(all) : `${shown} of ${all}`);
    const empty = byId(`${id}-empty`);
    empty.hidden = shown > 0;
    byId(id).hidden = shown === 0;
    say(empty, all ? `No ${thing} has “${byId("filter").value.trim()}” in its name.` : `No ${thing} has been seen yet.${id === "tools" ? OWN_TOOLS : ""}`);
  }
}

function filtered() {
  for (const table of [tools, caches, operations, weights]) table.setFilter(byId("filter").value);
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
      filter: byId("filter").value, tools: tools.sort, caches: caches.sort, operations: operations.sort, weights: weights.sort,
      tool: tools.open, cache: caches.open, operation: operations.open, weight: weights.open,
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
for (const table of [tools, caches, operations, weights]) table.setFilter(byId("filter").value);
tools.open = view.tool ?? null;
caches.open = view.cache ?? null;
operations.open = view.operation ?? null;
weights.open = view.weight ?? null;
themed();
ask();
