// The charts of one tool. The library comes when the first one is opened, if it is installed.

import { element } from "./table.js";

let loading = null;

/** Resolves to {Plotly}, or {install} with the command that brings the library. */
export function library() {
  loading ??= load().catch((error) => {
    loading = null; // the process may have been gone: try again with the next chart
    throw error;
  });
  return loading;
}

async function load() {
  const facts = await (await fetch("page.json")).json();
  if (!facts.chart_library) return { install: facts.install };
  await withoutItsStyles(facts.chart_library);
  await new Promise((resolve, reject) => {
    const script = element("script");
    script.src = facts.chart_library;
    script.addEventListener("load", resolve);
    script.addEventListener("error", () => reject(new Error("the charts' library did not load")));
    document.head.append(script);
  });
  return { Plotly: window.Plotly };
}

// The library brings styles of parts that are not used here (maps), as elements that the page's policy
// forbids. It adds each unless there is one of its id already.
async function withoutItsStyles(address) {
  const text = await (await fetch(address)).text();
  for (const [, id] of text.matchAll(/getElementById\("([0-9a-f]{64})"\)/g)) {
    const place = element("meta");
    place.id = id;
    document.head.append(place);
  }
}

const CHARTS = {
  percentiles: [
    { key: "p50", name: "p50", color: "--p50", line: { width: 2 } },
    { key: "p95", name: "p95", color: "--p95", line: { width: 2, dash: "dash" } },
    { key: "p99", name: "p99", color: "--p99", line: { width: 1.5, dash: "dot" } },
  ],
  traffic: [
    { key: "ok", name: "ok", color: "--ok", pattern: "" },
    { key: "failed", name: "failed", color: "--failed", pattern: "/" },
    { key: "caller", name: "caller’s error", color: "--caller", pattern: "." },
    { key: "cancelled", name: "cancelled", color: "--cancelled", pattern: "-" },
  ],
};

/** A chart of `kind` in `place`: draw(series) with each document, close() at the end. */
export class Chart {
  constructor(Plotly, place, kind) {
    this.Plotly = Plotly;
    this.place = place;
    this.kind = kind;
  }

  draw(found) {
    const series = found[this.kind];
    const style = getComputedStyle(document.documentElement);
    const colour = (name) => style.getPropertyValue(name).trim();
    const traces = CHARTS[this.kind]
      .filter(({ key }) => this.kind === "percentiles" || key === "ok" || series[key].some((value) => value > 0))
      .map((line) => (this.kind === "percentiles" ? latency(line, series, colour) : traffic(line, series, colour)));
    return this.Plotly.react(this.place, traces, layout(this.kind, found.percentiles.times, colour), {
      displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: false, showTips: false, showAxisDragHandles: false,
    });
  }

  close() {
    this.Plotly.purge(this.place);
  }
}

function latency(line, series, colour) {
  return {
    type: "scatter", mode: "lines", name: line.name, x: series.times, y: series[line.key],
    line: { ...line.line, color: colour(line.color) },
    hovertemplate: "%{y:.3~s} ms",
  };
}

function traffic(line, series, colour) {
  return {
    type: "scatter", mode: "lines", name: line.name, x: series.times, y: series[line.key], stackgroup: "calls", stackgaps: "infer zero",
    line: { width: 0, color: colour(line.color), shape: "vh" },
    fillpattern: { shape: line.pattern, size: 6, solidity: 0.35, fgcolor: colour(line.color), fgopacity: 0.9, bgcolor: colour(line.color + "-soft") },
    hovertemplate: "%{y:.1f}/s",
  };
}

function layout(kind, times, colour) {
  const last = times.at(-1) ?? new Date();
  const first = times[0] ?? last;
  // At least a minute, so that the first seconds do not look like a trend.
  const from = new Date(Math.min(first.getTime(), last.getTime() - 60_000));
  const axis = { color: colour("--faint"), gridcolor: colour("--line"), zeroline: false, fixedrange: true, tickfont: { size: 11 } };
  return {
    height: 200, margin: { l: 52, r: 8, t: 22, b: 28 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: colour("--font"), size: 11, color: colour("--text") },
    showlegend: true, legend: { orientation: "h", traceorder: "normal", x: 0, y: 1.01, yanchor: "bottom", font: { size: 11 }, itemclick: false, itemdoubleclick: false },
    hovermode: "x unified", hoverlabel: { bgcolor: colour("--surface"), bordercolor: colour("--line"), font: { color: colour("--text") } },
    dragmode: false, uirevision: kind,
    xaxis: { ...axis, ticklabelstandoff: 4, type: "date", range: [from, last], showgrid: false, tickformat: "%H:%M:%S", hoverformat: "%H:%M:%S", nticks: 6 },
    yaxis: { ...axis, rangemode: "tozero", nticks: 5, ticksuffix: kind === "percentiles" ? " ms" : "", automargin: true },
  };
}
