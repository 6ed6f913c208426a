// What the page saw of the process: cumulative counts and percentiles, kept only where they changed.
//
// The process keeps nothing for it. It survives a reload in sessionStorage.

import { percentile } from "./figures.js";

const SECONDS = 600;
const KEY = "metertap.history";
const MOST_CHARACTERS = 2_000_000;
const OUTCOMES = ["ok", "tool_error", "exception", "timeout", "caller_error", "cancelled", "interim"];

export class History {
  constructor() {
    this.process = "";
    this.clear();
  }

  clear() {
    this.times = []; // when documents came: the process's own clock, so that a late one is no peak
    this.tools = new Map(); // name → [{at, p50, p95, p99, counts}]
    this.caches = new Map(); // name → [{at, requests, evictions}]
    this.cpu = [];
  }

  /** Take a document in. Returns what became of the process: "first", "same", "reset" or "new". */
  add(document) {
    const system = document.system_metrics;
    const instance = document.service.instance_id ?? "";
    const process = JSON.stringify([instance, system.start_time]);
    let became = "same";
    if (process !== this.process) {
      became = this.process === "" ? "first" : JSON.parse(this.process)[0] === instance ? "reset" : "new";
      this.process = process;
      this.clear();
    }
    const at = document.timestamp;
    if (this.times.length && at <= this.times.at(-1)) {
      if (this.times.at(-1) - at < 1) return became; // the same document, or two at once
      this.clear(); // the process's clock was set back
    }
    this.times.push(at);
    this.cpu.push({ at, seconds: system.process.cpu_seconds });
    for (const [name, tool] of Object.entries(document.tool_metrics)) this.#addTool(at, name, tool);
    for (const [name, cache] of Object.entries(document.cache_metrics)) {
      const points = kept(this.caches, name);
      const last = points.at(-1);
      if (!last || last.requests !== cache.total_requests) points.push({ at, requests: cache.total_requests });
    }
    this.#forget(at - SECONDS);
    return became;
  }

  #addTool(at, name, tool) {
    const points = kept(this.tools, name);
    const last = points.at(-1);
    if (!last || last.total !== tool.total_calls || last.p95 !== percentile(tool, "p95")[0]) {
      const counts = tool.outcomes
        ? OUTCOMES.map((outcome) => tool.outcomes[outcome] ?? 0)
        : [tool.successful_calls, 0, tool.failed_calls, 0, 0, 0, 0];
      points.push({
        at, counts, total: tool.total_calls,
        p50: percentile(tool, "p50")[0], p95: percentile(tool, "p95")[0], p99: percentile(tool, "p99")[0],
      });
    }
  }

  #forget(before) {
    let gone = 0;
    while (gone < this.times.length && this.times[gone] < before) gone++;
    if (gone < 30) return; // in batches: it copies
    this.times.splice(0, gone);
    this.cpu = this.cpu.filter((point) => point.at >= before);
    for (const of of [this.tools, this.caches]) {
      for (const points of of.values()) {
        // The last one before that time says what was so then.
        const first = points.findLastIndex((point) => point.at < before);
        if (first > 0) points.splice(0, first);
      }
    }
  }

  /** Calls a second over the last `seconds`; null before there are two documents. */
  callRate(name, seconds = 10) {
    return this.#rate(this.tools.get(name), (point) => point.total, seconds);
  }

  lookupRate(name, seconds = 10) {
    return this.#rate(this.caches.get(name), (point) => point.requests, seconds);
  }

  /** Share of a core, in percent. */
  cpuShare(seconds = 10) {
    const share = this.#rate(this.cpu, (point) => point.seconds, seconds);
    return share === null ? null : 100 * share;
  }

  #rate(points, value, seconds) {
    const span = this.#span(seconds);
    if (!points?.length || span === null) return null;
    const [from, to] = span;
    const before = at(points, from); // none: it was not there yet
    return Math.max(0, value(points.at(-1)) - (before ? value(before) : 0)) / (to - from);
  }

  /** How many of the last `seconds` were watched: from the first look in them to the last. */
  watched(seconds = 60) {
    const [from, to] = this.#span(seconds) ?? [0, 0];
    return to - from;
  }

  #span(seconds) {
    const to = this.times.at(-1);
    const from = this.times.find((time) => time >= to - seconds - 0.5);
    return from === undefined || from >= to ? null : [from, to];
  }

  /** Calls of the last `seconds`: {ok, failed}. Null before there are two documents. */
  recent(name, seconds = 60) {
    const span = this.#span(seconds);
    const points = this.tools.get(name);
    if (span === null || !points?.length) return null;
    const before = at(points, span[0])?.counts;
    const now = points.at(-1).counts;
    const more = now.map((number, index) => number - (before?.[index] ?? 0));
    return { ok: Math.max(0, more[0]), failed: Math.max(0, more[1] + more[2] + more[3]), seconds: span[1] - span[0] };
  }

  /** One tool's last minutes for charts: percentiles as they were seen, and calls a second by outcome. */
  series(name, seconds = 300) {
    const points = this.tools.get(name) ?? [];
    const since = Math.max(this.times[0] ?? 0, (this.times.at(-1) ?? 0) - seconds);
    const span = (this.times.at(-1) ?? 0) - since;
    const step = span > 120 ? 5 : span > 60 ? 2 : 1;
    const percentiles = { times: [], p50: [], p95: [], p99: [] };
    const traffic = { times: [], ok: [], failed: [], caller: [], cancelled: [] };
    let next = 0;
    let previous = null;
    let counted = null; // where the traffic was counted last: {time, counts}
    for (const time of this.times) {
      while (next < points.length && points[next].at <= time) next++;
      const point = next ? points[next - 1] : null;
      const counts = point?.counts ?? null;
      const isGap = previous !== null && time - previous > 6; // nobody looked meanwhile
      if (time >= since) {
        if (isGap) {
          put(percentiles, previous + 1, {});
          put(traffic, previous + 1, {});
        }
        put(percentiles, time, point ?? {});
      }
      // At round times, so that what is shown stays as it is.
      if (counted === null || isGap || Math.floor(time / step) !== Math.floor(counted.time / step)) {
        if (time >= since && counted !== null && !isGap && counts) {
          const more = counts.map((number, i) => Math.max(0, number - (counted.counts?.[i] ?? 0)) / (time - counted.time));
          put(traffic, time, { ok: more[0] + more[6], failed: more[1] + more[2] + more[3], caller: more[4], cancelled: more[5] });
        } else if (time >= since) put(traffic, time, {});
        counted = { time, counts };
      }
      previous = time;
    }
    return { percentiles, traffic };
  }

  save() {
    let tools = [...this.tools];
    let times = this.times;
    for (;;) {
      const text = JSON.stringify({
        process: this.process, times, tools, caches: [...this.caches], cpu: this.cpu,
      });
      if (text.length <= MOST_CHARACTERS || times.length < 2) {
        try {
          sessionStorage.setItem(KEY, text);
        } catch {
          // No storage, or a full one: after a reload the charts begin anew.
        }
        return;
      }
      times = times.slice(Math.ceil(times.length / 2));
      tools = tools.map(([name, points]) => {
        const first = points.findLastIndex((point) => point.at < times[0]);
        return [name, first > 0 ? points.slice(first) : points];
      });
    }
  }

  load() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(KEY) ?? "null");
      if (!kept) return;
      this.times = kept.times;
      this.tools = new Map(kept.tools);
      this.caches = new Map(kept.caches);
      this.cpu = kept.cpu;
      this.process = kept.process;
    } catch {
      this.process = "";
      this.clear();
    }
  }
}

function kept(map, name) {
  let points = map.get(name);
  if (!points) map.set(name, (points = []));
  return points;
}

/** What was so at `time`: the last point that is not later. */
function at(points, time) {
  return points.findLast((point) => point.at <= time);
}

function put(found, time, values) {
  for (const [key, list] of Object.entries(found)) list.push(key === "times" ? new Date(time * 1000) : (values[key] ?? null));
}
