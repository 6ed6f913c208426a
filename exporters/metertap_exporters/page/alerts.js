// What the process itself found alarming: what fires first, then what may soon, then what is over.

import { clock } from "./figures.js";
import { say, sayOf } from "./table.js";

const ORDER = ["firing", "pending", "resolved"];

export class Alerts {
  #place = document.getElementById("alerts");
  #list = this.#place.querySelector("ul");

  /** `alerts` as the document has them: null where none are configured. */
  update(alerts) {
    const sorted = [...(alerts ?? [])].sort((one, other) => ORDER.indexOf(one.state) - ORDER.indexOf(other.state) || one.since - other.since);
    while (this.#list.children.length < sorted.length) this.#list.append(item());
    while (this.#list.children.length > sorted.length) this.#list.lastChild.remove();
    sorted.forEach((alert, index) => show(this.#list.children[index], alert));
    if (this.#place.hidden !== !sorted.length) this.#place.hidden = !sorted.length;
  }
}

function item() {
  const made = document.createElement("li");
  for (const part of ["state", "summary", "since"]) {
    const span = document.createElement("span");
    span.className = part;
    made.append(span);
  }
  return made;
}

function show(place, alert) {
  if (place.dataset.state !== alert.state) place.dataset.state = alert.state;
  if (place.dataset.severity !== alert.severity) place.dataset.severity = alert.severity;
  const [state, summary, since] = place.children;
  say(state, alert.state === "firing" ? alert.severity : alert.state);
  sayOf(summary, alert.summary, alert.tool ?? alert.cache);
  say(since, `since ${clock(new Date(1000 * alert.since))}`);
}
