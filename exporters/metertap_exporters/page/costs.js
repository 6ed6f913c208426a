// What tools spend: a line for each tool and model, and what could be changed, each with its sum.

import { NONE, duration } from "./figures.js";

/** An amount of USD: cents, or three digits of less than a dollar. */
export function money(usd) {
  if (usd === null || usd === undefined) return NONE;
  if (usd === 0 || Math.abs(usd) >= 1) return `$${usd.toFixed(2)}`;
  return `$${Number(usd.toPrecision(3))}`;
}

export class Costs {
  #place = document.getElementById("costs");
  #shown = "";

  /** `costs` as the document has them: null where no model was called and no tool has a fee. */
  update(costs) {
    const shown = JSON.stringify(costs ?? null);
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#place.hidden = !costs;
    if (!costs) return;
    const tools = Object.entries(costs.tools).sort(([, one], [, other]) => (other.spent ?? 0) - (one.spent ?? 0));
    fill(this.#place.querySelector("#costs-tools"), ["Tool", "Spent", "A successful call", "On failures", "Saved by caches", "Model calls", "Tokens in", "Tokens out"], tools.map(([name, tool]) => [
      name, `${money(tool.spent)}${tool.unpriced_calls ? " *" : ""}`, money(tool.per_successful_call), money(tool.spent_on_failures),
      money(tool.saved_by_caches), tool.model_calls, tool.input_tokens, tool.output_tokens,
    ]));
    fill(this.#place.querySelector("#costs-changes"), costs.recommendations.length ? ["What could be changed", "Saves", "Because"] : [], costs.recommendations.map((item) => [
      item.text, money(item.saves), `${item.arithmetic} (confidence: ${item.confidence})`,
    ]));
    this.#place.querySelector("#costs-told").textContent = told(costs);
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
  table.replaceChildren(head, body);
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
