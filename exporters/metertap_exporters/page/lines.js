// Lines over time as SVG, drawn without a library: a few series, and where versions of the program began.

import { element } from "./table.js";

const NAMESPACE = document.getElementById("drawing").content.firstElementChild.namespaceURI;
const [WIDTH, HEIGHT, LEFT, TOP, BOTTOM] = [560, 190, 52, 18, 22];

/** A figure of `series`, each [name, colour, value(period)], over the range of `found`. */
export function lines(title, series, periods, found, versions) {
  const figure = element("figure");
  const legend = series.map(([name, colour]) => [element("span", "key", name), colour]);
  for (const [key, colour] of legend) key.style.setProperty("--key", `var(${colour})`);
  const caption = element("figcaption", "", `${title} `);
  caption.append(...legend.map(([key]) => key));
  const { since, until, step_seconds: step } = found;
  const x = (time) => LEFT + ((time - since) / (until - since)) * (WIDTH - LEFT - 6);
  const values = periods.flatMap((period) => series.map(([, , value]) => value(period) ?? 0));
  const most = Math.max(...values, 1e-9);
  const y = (value) => HEIGHT - BOTTOM - (value / most) * (HEIGHT - TOP - BOTTOM);
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": title, class: "lines" });
  for (const share of [0, 0.5, 1]) {
    drawing.append(svg("line", { x1: LEFT, x2: WIDTH, y1: y(most * share), y2: y(most * share), class: "grid" }));
    drawing.append(label(LEFT - 6, y(most * share) + 4, digits(most * share), "end"));
  }
  for (const [time, anchor] of [[since, "start"], [until, "end"]]) drawing.append(label(x(time), HEIGHT - 5, day(time), anchor));
  for (const version of versions) {
    if (version.first_seen < since) continue;
    const at = x(version.first_seen);
    drawing.append(svg("line", { x1: at, x2: at, y1: TOP, y2: HEIGHT - BOTTOM, class: "version" }));
    drawing.append(label(at, TOP - 5, version.version, at > WIDTH * 0.8 ? "end" : "start"));
  }
  for (const [, colour, value] of series) {
    let path = "";
    let before = null;
    for (const period of periods) {
      const found = value(period);
      if (found === null) continue;
      const isNext = before !== null && period.start - before <= step;
      path += `${isNext ? "L" : "M"}${x(Math.min(until, period.start + step / 2)).toFixed(1)} ${y(found).toFixed(1)}${isNext ? "" : "h.01"}`;
      before = period.start;
    }
    const line = svg("path", { d: path, class: "line" });
    line.style.stroke = `var(${colour})`;
    drawing.append(line);
  }
  figure.append(caption, drawing);
  return figure;
}

function svg(tag, attributes) {
  const made = document.createElementNS(NAMESPACE, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  return made;
}

function label(x, y, text, anchor) {
  const made = svg("text", { x, y, "text-anchor": anchor });
  made.textContent = text;
  return made;
}

function digits(value) {
  return value >= 100 || value === 0 ? String(Math.round(value)) : value.toPrecision(2);
}

function day(seconds) {
  return new Date(seconds * 1000).toLocaleDateString([], { day: "numeric", month: "short" });
}
