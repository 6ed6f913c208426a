// What unfolds under a row: the charts and the rest of a tool's figures; a cache's hit rate by tool.

import { Chart, library } from "./charts.js";
import { element, say, sayOf } from "./table.js";
import { NONE, count, duration, errors, joined, latency, percent } from "./figures.js";

const FEWEST_FOR_P95 = 19; // of fewer calls, the formula leads beyond the longest
const CAPTIONS = { percentiles: "Latency of the last calls", traffic: "Calls a second" };
const GATHERS = "since this page was opened";
const FULL_MILLISECONDS = 60_000; // what the charts show at least
const OTHER = "_OTHER";

export function toolDetail(name, history) {
  const whole = element("div", "unfolded");
  const charts = element("div", "charts");
  const places = ["percentiles", "traffic"].map((kind) => {
    const figure = element("figure");
    const caption = element("figcaption", "", CAPTIONS[kind]);
    figure.append(caption);
    const place = element("div", "chart");
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", kind === "percentiles" ? `Latency of ${name} over the last minutes` : `Calls of ${name} by outcome over the last minutes`);
    figure.append(place);
    charts.append(figure);
    return [kind, place, caption];
  });
  const facts = new Facts();
  whole.append(charts, facts.element);

  let drawn = [];
  let isClosed = false;
  library().then(
    ({ Plotly, install }) => {
      if (isClosed) return;
      if (!Plotly) return charts.replaceChildren(instead("Charts need one more package: ", install));
      drawn = places.map(([kind, place]) => new Chart(Plotly, place, kind));
      draw();
    },
    () => charts.replaceChildren(instead("The charts could not be loaded; open the tool again to try once more.")),
  );
  function draw() {
    if (!drawn.length || !whole.isConnected) return;
    const series = history.series(name);
    for (const chart of drawn) chart.draw(series);
    const { times } = series.percentiles;
    const gathers = times.length < 2 || times.at(-1) - times[0] < FULL_MILLISECONDS;
    for (const [kind, , caption] of places) say(caption, gathers ? `${CAPTIONS[kind]}, ${GATHERS}` : CAPTIONS[kind]);
  }
  return {
    element: whole,
    update({ tool, now }) {
      facts.update(toolFacts(name, tool, now));
      draw();
    },
    close() {
      isClosed = true;
      for (const chart of drawn) chart.close();
    },
  };
}

function instead(text, command = "") {
  const line = element("p", "instead", text);
  if (command) line.append(element("code", "", command));
  return line;
}

function toolFacts(name, tool, now) {
  const facts = [
    ...(name === OTHER ? [[OTHER, "calls of names that no server has, all together"]] : []),
    ["shortest, mean, longest", [tool.min_latency_ms, tool.avg_latency_ms, tool.max_latency_ms].map((ms) => joined(latency(ms))).join("  ·  ")],
    ["percentiles of", tool.window_samples === null ? NONE : `the last ${joined(count(tool.window_samples))} calls`],
    ["ok, failed", `${joined(count(tool.successful_calls))}  ·  ${joined(count(tool.failed_calls))}`],
    ["cancelled, caller’s errors", `${joined(count(tool.cancelled_calls))}  ·  ${joined(count(tool.caller_errors))}`],
    ["last call", tool.last_call_timestamp === null ? NONE : `${duration(now - tool.last_call_timestamp)} ago`],
    ["source", tool.source],
  ];
  if (tool.with_cache) {
    for (const [key, title] of [["all_hit", "p95 when caches hit"], ["missed", "p95 when one missed"]]) {
      const part = tool.with_cache[key];
      facts.push([title, `${atMostTheLongest(part, tool)}  ·  ${joined(count(part.calls))} calls`]);
    }
  }
  if (tool.first_item) facts.push(["p95 to the first item", atMostTheLongest(tool.first_item, tool)]);
  return [...facts, ...errorFacts(tool)];
}

/** The p95 of a part of a tool's calls: of few, at most the longest call, and marked. */
function atMostTheLongest({ calls, p95_latency_ms: p95 }, tool) {
  if (p95 === null || calls >= FEWEST_FOR_P95) return joined(latency(p95));
  return `≈ ${joined(latency(Math.min(p95, tool.max_latency_ms ?? p95)))}`;
}

function errorFacts(of) {
  // Where no call failed, the errors are those of callers, or of calls that were cancelled.
  return errors(of).slice(0, 8).map(([type, number, mark]) => [type, `${joined(count(number))} ×${mark}`, mark || !of.failed_calls ? "callers" : "error"]);
}

export function operationDetail() {
  const whole = element("div", "unfolded");
  const facts = new Facts();
  whole.append(facts.element);
  return {
    element: whole,
    update({ operation, now }) {
      facts.update([
        ["shortest, mean, longest", [operation.min_latency_ms, operation.avg_latency_ms, operation.max_latency_ms].map((ms) => joined(latency(ms))).join("  ·  ")],
        ["percentiles of", `the last ${joined(count(operation.window_samples))} requests`],
        ["with an error", joined(count(operation.failed_calls))],
        ["last request", operation.last_call_timestamp === null ? NONE : `${duration(now - operation.last_call_timestamp)} ago`],
        ...errorFacts(operation),
      ]);
    },
    close() {},
  };
}

export function weightDetail() {
  const whole = element("div", "unfolded");
  const facts = new Facts();
  whole.append(facts.element);
  const sized = (bytes) => (bytes === null || bytes === undefined ? NONE : joined(count(Math.round(bytes))));
  return {
    element: whole,
    update({ source, side, definition, results }) {
      facts.update([
        ["definition: bytes, of these description, schema", [definition?.bytes, definition?.description_bytes, definition?.schema_bytes].map(sized).join("  ·  ")],
        ["results: bytes p50, p95, largest", [results?.p50_bytes, results?.p95_bytes, results?.max_bytes].map(sized).join("  ·  ")],
        ["results weighed, of no known size", [results?.weighed, results?.unknown].map(sized).join("  ·  ")],
        ...(results?.method === "sample" ? [["not in the sample", sized(results.not_in_sample)]] : []),
        ["seen by", `${side === "client" ? "the client that asked" : "what runs it"}, ${source}`],
      ]);
    },
    close() {},
  };
}

/** A list of titles and texts, patched in place. */
class Facts {
  constructor() {
    this.element = element("dl", "details");
    this.shown = new Map();
  }

  update(facts) {
    const left = new Set(this.shown.keys());
    for (const [title, text, kind = ""] of facts) {
      const key = `${kind}:${title}`;
      left.delete(key);
      let entry = this.shown.get(key);
      if (!entry) {
        const group = element("div", kind);
        const value = element("dd");
        group.append(element("dt", "", title), value);
        this.element.append(group);
        this.shown.set(key, (entry = { group, value }));
      }
      say(entry.value, text);
    }
    for (const key of left) {
      this.shown.get(key).group.remove();
      this.shown.delete(key);
    }
  }
}

export function cacheDetail(name) {
  const whole = element("div", "unfolded");
  const table = element("table", "by-tool");
  const head = table.createTHead().insertRow();
  for (const title of ["Looked up by", "Hit rate", "Hits", "Misses"]) head.append(element("th", "", title));
  const body = table.createTBody();
  const none = element("p", "instead", "");
  const facts = new Facts();
  whole.append(none, table, facts.element);
  const rows = new Map();
  return {
    element: whole,
    update({ cache }) {
      const tools = Object.entries(cache.by_tool ?? {}).sort((a, b) => b[1].hits + b[1].misses - a[1].hits - a[1].misses);
      table.hidden = tools.length === 0;
      none.hidden = tools.length > 0;
      sayOf(none, cache.by_tool === null ? `What is known of ${name} does not say which tool asked.` : "No tool call has asked it yet.", name);
      for (const [tool, { hits, misses, hit_rate: rate }] of tools) {
        let row = rows.get(tool);
        if (!row) {
          row = body.insertRow();
          for (const text of [tool, "", "", ""]) row.insertCell().textContent = text;
          rows.set(tool, row);
        }
        for (const [index, text] of [joined(percent(rate)), joined(count(hits)), joined(count(misses))].entries()) say(row.cells[index + 1], text);
      }
      for (const [tool, row] of rows) {
        if (tools.some(([known]) => known === tool)) continue;
        row.remove();
        rows.delete(tool);
      }
      facts.update([
        ["library", cache.system],
        ["hits, misses", `${joined(count(cache.hits))}  ·  ${joined(count(cache.misses))}`],
        ["rejected for their size", joined(count(cache.size_rejections))],
      ]);
    },
    close() {},
  };
}
