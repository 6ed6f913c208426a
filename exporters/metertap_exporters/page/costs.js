// What tools spend: a line for each tool and model, and what could be changed, each with its sum.

import { NONE, duration } from "./figures.js";

/** An amount of USD: cents, or three digits of less than a dollar. */
export function money(usd) {
  if (usd === null || usd === undefined) return NONE;
  if (usd === 0 || Math.abs(usd) >= 1) return `$${usd.toFixed(2)}`;
  const digits = String(Number(usd.toPrecision(3)));
  return `$${/\.\d$/.test(digits) ? `${digits}0` : digits}`;
}

/** The name of a tool as people read it: model calls that no tool made have the tool `none`. */
function toolNamed(name) {
  return name === "none" ? "outside tools" : name;
}

const OF_DAYS = ["Spent", "A successful call", "On failures", "Saved by caches", "Model calls", "Tokens in", "Tokens out"];
const NEXT_DAYS_MS = 60_000;
const MOST_DAYS = 7;

/** Fills the tables of what a history has: a line for each day, and for each tool and model where there is a table. */
export function showDays(place, found) {
  const { daily } = found.budget;
  const days = found.days.map((of) => [`${of.day}${daily !== null && of.usd > daily ? " (over the budget)" : ""}`, ...spent(of)]);
  fill(place.querySelector(".days"), days.length ? ["Day (UTC)", ...OF_DAYS] : [], days);
  for (const name of ["tool", "model"]) {
    const groups = found[`${name}s`].sort((one, other) => (other.usd ?? 0) - (one.usd ?? 0));
    const lines = groups.map((of) => [`${name === "tool" ? toolNamed(of.tool) : of.model} ${of.version}`.trim(), ...spent(of)]);
    const table = place.querySelector(`.days-${name}s`);
    if (table) fill(table, lines.length ? [name === "tool" ? "Tool" : "Model", ...OF_DAYS] : [], lines);
  }
}

/** What is to be expected of a day, by the days of a history. */
export function daysTold({ budget: { daily, forecast_daily: forecast, over_days: number }, days, total }) {
  return [
    `Spent ${money(total.usd)} in ${days.length} days with costs.`,
    total.saved_usd === null ? "" : `Saved by caches ${money(total.saved_usd)}.`,
    forecast === null ? "" : `Forecast ${money(forecast)} a day, the mean of the last ${number} whole days.`,
    daily === null ? "" : `The budget is ${money(daily)} a day: over it on ${days.filter(({ usd }) => usd > daily).length} days.`,
    total.unpriced ? `* ${total.unpriced} calls have no known cost.` : "",
  ].filter(Boolean).join(" ");
}

function spent(of) {
  return [`${money(of.usd)}${of.unpriced ? " *" : ""}`, money(of.usd_per_ok_call), money(of.failed_usd), money(of.saved_usd), of.calls, of.input_tokens, of.output_tokens];
}

export class Costs {
  #place = document.getElementById("costs");
  #shown = "";
  #askedAt = -Infinity;
  #hasHistory = null;

  /** `costs` as the document has them: null where no model was called and no tool has a fee. */
  update(costs) {
    if (costs && this.#hasHistory !== false && performance.now() - this.#askedAt > NEXT_DAYS_MS) this.#askDays();
    const shown = JSON.stringify(costs ?? null);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#place.hidden = !costs;
    if (!costs) return;
    const tools = Object.entries(costs.tools).sort(([, one], [, other]) => (other.spent ?? 0) - (one.spent ?? 0));
    fill(this.#place.querySelector("#costs-tools"), ["Tool", "Spent", "A successful call", "On failures", "Saved by caches", "Model calls", "Tokens in", "Tokens out"], tools.map(([name, tool]) => [
      toolNamed(name), `${money(tool.spent)}${tool.unpriced_calls ? " *" : ""}`, money(tool.per_successful_call), money(tool.spent_on_failures),
      money(tool.saved_by_caches), tool.model_calls, tool.input_tokens, tool.output_tokens,
    ]));
    const models = [...costs.models].sort((one, other) => (other.spent ?? 0) - (one.spent ?? 0));
    fill(this.#place.querySelector("#costs-models"), models.length ? ["Model", "Spent", "A successful call", "On failures", "Saved by caches", "Calls", "Failed", "Tokens in", "Tokens out", "Tool"] : [], models.map((of) => [
      `${of.provider}/${of.model}`, `${money(of.spent)}${of.unpriced_calls ? " *" : ""}`, money(of.per_successful_call), money(of.spent_on_failures), money(of.saved_by_caches), of.calls, of.failed_calls,
      of.input_tokens, of.output_tokens, toolNamed(of.tool),
    ]));
    fill(this.#place.querySelector("#costs-changes"), costs.recommendations.length ? ["What could be changed", "Saves", "Because"] : [], costs.recommendations.map((item) => [
      item.text, money(item.saves), `${item.arithmetic} (confidence: ${item.confidence})`,
    ]));
    this.#place.querySelector("#costs-told").textContent = told(costs);
  }

  /** Asks for the days of the history, where one is kept. */
  async #askDays() {
    this.#askedAt = performance.now();
    try {
      this.#hasHistory ??= (await (await fetch("page.json")).json()).has_history;
      if (!this.#hasHistory) return;
      const answer = await fetch("costs.json", { cache: "no-store" });
      if (!answer.ok) return;
      const found = await answer.json();
      if (found.days.length) this.#place.querySelector("#costs-days-told").textContent = `Last 30 days: ${daysTold(found)}`;
      showDays(this.#place, { ...found, days: found.days.slice(-MOST_DAYS) });
    } catch {
      // The process does not answer, which the page says; it is asked again.
    }
  }
}

function told(costs) {
  const { daily, forecast_daily: forecast, over_seconds: seconds, is_over: isOver } = costs.budget;
  return [
    `Spent ${money(costs.spent)}.`,
    costs.saved_by_caches === null ? "" : `Saved by caches ${money(costs.saved_by_caches)}.`,
    forecast === null ? "" : `At the rate of the last ${duration(seconds)}, ${money(forecast)} a day.`,
    daily === null ? "" : `The budget is ${money(daily)} a day${isOver ? ": over it" : ""}.`,
    costs.table ? `Prices of ${costs.table}${costs.table_date ? ` (${costs.table_date})` : ""}.` : "",
    costs.unpriced_models.length ? `* Without a price: ${costs.unpriced_models.join(", ")}.` : "",
  ].filter(Boolean).join(" ");
}

function fill(table, headers, rows) {
  const head = document.createElement("thead");
  const body = document.createElement("tbody");
  if (headers.length) head.append(line("th", headers));
  body.append(...rows.map((row) => line("td", row)));
  table.replaceChildren(...(rows.length ? [head, body] : []));
}

function line(tag, cells) {
  const made = document.createElement("tr");
  for (const text of cells) {
    const cell = document.createElement(tag);
    cell.textContent = String(text);
    made.append(cell);
  }
  return made;
}
