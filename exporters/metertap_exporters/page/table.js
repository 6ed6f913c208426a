// A table that stays: rows are made once and patched; sorted by its headings, filtered, unfolded.

/** One element with a class and, if given, a text. Text only: a name may look like markup. */
export function element(tag, name = "", text = null) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== null) made.textContent = text;
  return made;
}

/** Set a text where it differs: what is the same is not painted again. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/** The same of a sentence about `name`: one that turns the direction of text turns only itself. */
export function sayOf(node, text, name) {
  if (node.textContent === text) return;
  const at = name ? text.indexOf(name) : -1;
  if (at < 0) node.textContent = text;
  else node.replaceChildren(text.slice(0, at), element("bdi", "", name), text.slice(at + name.length));
}

export class Table {
  /**
   * A row has a name, which is no other's, and may have a label that is shown for it.
   * columns: [{key, title, about, value(row), text(row) → [number, unit, mark, about], hasUnit, share(row) → 0…1, words}]
   * unfold(name): {element, update(row), close()}, what is shown under a row.
   */
  constructor(table, { columns, sort, unfold, onChange }) {
    this.head = table.tHead;
    this.body = table.tBodies[0];
    this.columns = columns;
    this.sort = sort; // {key, down}
    this.unfold = unfold;
    this.onChange = onChange;
    this.filter = "";
    this.rows = new Map(); // name → {row, element, cells, data, detail}
    this.open = null;
    this.isHeld = false;
    this.#makeHead();
    this.template = this.#makeTemplate();
    this.body.addEventListener("keydown", (event) => this.#move(event));
    this.body.addEventListener("click", (event) => this.#clicked(event));
  }

  get shown() {
    return [...this.rows.values()].filter((entry) => !entry.element.hidden).length;
  }

  update(rows) {
    const left = new Set(this.rows.keys());
    const added = document.createDocumentFragment();
    for (const data of rows) {
      left.delete(data.name);
      let entry = this.rows.get(data.name);
      if (!entry) {
        entry = this.#make(data.name, data.label ?? data.name);
        this.rows.set(data.name, entry);
        added.append(entry.element);
      }
      entry.data = data;
      this.#patch(entry);
    }
    for (const name of left) this.#remove(name);
    this.body.append(added);
    this.#arrange();
  }

  setFilter(text) {
    this.filter = text.trim().toLowerCase();
    for (const entry of this.rows.values()) this.#hide(entry);
  }

  toggle(name, open = this.open !== name) {
    if (this.open !== null) this.#close();
    const entry = this.rows.get(name);
    if (open) {
      this.open = name; // also of a row that is yet to come
      if (entry) this.#openRow(entry);
    }
    this.onChange();
    return entry;
  }

  show(name) {
    const entry = this.open === name ? this.rows.get(name) : this.toggle(name, true);
    entry?.button.focus({ preventScroll: true });
    entry?.element.scrollIntoView({ block: "nearest" });
  }

  sortBy(key) {
    const column = this.columns.find((one) => one.key === key);
    const down = this.sort.key === key ? !this.sort.down : !column.words;
    this.sort = { key, down };
    this.#markHead();
    this.#arrange(true);
    this.onChange();
  }

  #makeHead() {
    const row = element("tr");
    row.setAttribute("role", "row");
    for (const column of this.columns) {
      const heading = element("th", column.words ? "words" : "figure");
      heading.setAttribute("role", "columnheader");
      heading.scope = "col";
      const button = element("button", "", column.title);
      button.type = "button";
      if (column.about) button.title = column.about;
      const arrow = element("span", "arrow");
      arrow.setAttribute("aria-hidden", "true");
      button.append(arrow);
      button.addEventListener("click", () => this.sortBy(column.key));
      heading.append(button);
      row.append(heading);
    }
    this.head.append(row);
    this.#markHead();
  }

  #markHead() {
    for (const [index, column] of this.columns.entries()) {
      const heading = this.head.rows[0].cells[index];
      const sorted = column.key === this.sort.key;
      if (sorted) heading.setAttribute("aria-sort", this.sort.down ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
      heading.querySelector(".arrow").textContent = sorted ? (this.sort.down ? "↓" : "↑") : "";
    }
  }

  #makeTemplate() {
    const row = element("tr", "row");
    row.setAttribute("role", "row");
    for (const [index, column] of this.columns.entries()) {
      const cell = element(index ? "td" : "th", column.words ? "words" : "figure");
      cell.setAttribute("role", index ? "cell" : "rowheader");
      if (!index) {
        cell.scope = "row";
        const button = element("button", "name");
        button.type = "button";
        button.setAttribute("aria-expanded", "false");
        cell.append(button);
      } else {
        cell.dataset.label = column.title;
        if (column.share) cell.classList.add("share");
        if (column.hasUnit) cell.append(element("span", "unit"));
      }
      row.append(cell);
    }
    return row;
  }

  #make(name, label) {
    const row = this.template.cloneNode(true);
    const button = row.cells[0].firstChild;
    button.textContent = label;
    button.title = label;
    const cells = [...row.cells].slice(1).map((cell) => {
      const number = document.createTextNode("");
      cell.prepend(number);
      return { cell, number, unit: cell.firstElementChild, was: ["", "", "", ""] };
    });
    const entry = { name, element: row, button, cells, data: null, detail: null, search: label.toLowerCase() };
    row.dataset.name = name;
    this.#hide(entry);
    return entry;
  }

  #patch(entry) {
    const { data } = entry;
    if (entry.element.dataset.state !== data.state) entry.element.dataset.state = data.state;
    for (const [index, { cell, number, unit, was }] of entry.cells.entries()) {
      const column = this.columns[index + 1];
      const [figure, of = "", mark = "", about = ""] = column.text(data);
      const text = mark ? `${mark} ${figure}` : figure;
      if (was[0] !== text) number.data = was[0] = text;
      if (unit && was[1] !== of) unit.textContent = was[1] = of;
      if (was[2] !== about) cell.title = was[2] = about;
      if (column.share) {
        const share = column.share(data);
        const shown = share === null ? "0" : share.toFixed(3);
        if (was[3] !== shown) {
          was[3] = shown;
          cell.style.setProperty("--share", shown);
        }
      }
    }
    if (this.open === entry.name && !entry.detail) this.#openRow(entry);
    entry.detail?.content.update(data);
  }

  #hide(entry) {
    const hidden = this.filter !== "" && !entry.search.includes(this.filter);
    if (entry.element.hidden !== hidden) entry.element.hidden = hidden;
    if (entry.detail) entry.detail.row.hidden = hidden;
  }

  #openRow(entry) {
    const row = element("tr", "detail");
    row.setAttribute("role", "row");
    const cell = element("td");
    cell.setAttribute("role", "cell");
    cell.colSpan = this.columns.length;
    row.append(cell);
    const content = this.unfold(entry.name);
    cell.append(content.element);
    entry.detail = { row, content };
    entry.element.after(row);
    entry.button.setAttribute("aria-expanded", "true");
    if (entry.data) content.update(entry.data);
  }

  #close() {
    const entry = this.rows.get(this.open);
    this.open = null;
    if (!entry?.detail) return;
    entry.detail.content.close();
    entry.detail.row.remove();
    entry.detail = null;
    entry.button.setAttribute("aria-expanded", "false");
  }

  #remove(name) {
    const entry = this.rows.get(name);
    if (entry.detail) {
      entry.detail.content.close();
      entry.detail.row.remove();
    }
    entry.element.remove();
    this.rows.delete(name);
  }

  /** Put the rows in order; not while somebody points at one, or is in one by keyboard. */
  #arrange(anyway = false) {
    const body = this.body;
    if (!anyway && this.wasArranged && (body.matches(":hover") || body.contains(document.activeElement))) return;
    this.wasArranged = this.rows.size > 0;
    const { value } = this.columns.find((column) => column.key === this.sort.key);
    const sign = this.sort.down ? -1 : 1;
    const order = [...this.rows.values()]
      .map((entry) => [entry, value(entry.data)])
      .sort(([one, a], [other, b]) => compared(a, b, sign) || names(one.name, other.name));
    let place = body.firstChild;
    for (const [entry] of order) {
      for (const row of entry.detail ? [entry.element, entry.detail.row] : [entry.element]) {
        if (row === place) place = place.nextSibling;
        else body.insertBefore(row, place);
      }
    }
  }

  #clicked(event) {
    const row = event.target.closest("tr.row");
    if (!row || window.getSelection()?.toString()) return; // a click, or text that is being marked
    this.toggle(row.dataset.name);
  }

  #move(event) {
    if (event.key !== "ArrowDown" && event.key !== "ArrowUp") return;
    const row = event.target.closest("button.name")?.closest("tr");
    if (!row) return;
    const step = event.key === "ArrowDown" ? "nextElementSibling" : "previousElementSibling";
    let next = row[step];
    while (next && (next.hidden || !next.matches(".row"))) next = next[step];
    next?.querySelector("button.name").focus();
    event.preventDefault();
  }
}

const { compare: names } = new Intl.Collator(undefined, { numeric: true });

/** What has no value stands last, whichever way. */
function compared(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "string" ? names(a, b) : a - b);
}
