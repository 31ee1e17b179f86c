// Tables of Markdown, as on GitHub: rows of text in, table elements out.

import {el} from "./elements.js";
import {InlineRun} from "./markdown-inline.js";

const MAX_COLUMNS = 64;
const MARK = /^\s*:?-+:?\s*$/;

/** The cells of a row. */
export function cells(line) {
  const row = line.trim().replace(/^\|/, "").replace(/((?:^|[^\\])(?:\\\\)*)\|$/, "$1");
  const found = row.match(/(?:[^|\\]|\\[^]|\\$)*(?:\||$)/g).slice(0, MAX_COLUMNS + 1);
  if (found.length > 1 && found.at(-1) === "" && !row.endsWith("|")) found.pop();
  return found.map((cell) => cell.replace(/\|$/, "").replace(/\\\|/g, "|").trim());
}

/** The alignment of each column if `line` is the rule under a header row, else null. */
export function rule(line) {
  if (!/^[|:\- \t]+$/.test(line) || !line.includes("-") || !/[|:]/.test(line)) return null;
  const marks = cells(line);
  if (!marks.every((mark) => MARK.test(mark))) return null;
  return marks.map((mark) => {
    if (!mark.endsWith(":")) return mark.startsWith(":") ? "left" : "";
    return mark.startsWith(":") ? "center" : "right";
  });
}

/** A table that grows by rows. */
export class Table {
  #body = null;

  constructor(header, alignments) {
    this.alignments = alignments;
    this.table = el("table", {}, el("thead", {}, this.#row("th", header)));
    const {table} = this;
    // Wide tables scroll by themselves; by keyboard as well.
    this.element = el("div.table", {tabindex: "0", role: "region", "aria-label": "Table"}, table);
  }

  add(line) {
    if (!this.#body) this.table.append(this.#body = el("tbody"));
    this.#body.append(this.#row("td", cells(line)));
  }

  #row(tag, texts) {
    return el("tr", {}, this.alignments.map((alignment, n) => {
      const scope = tag === "th" ? "col" : null;
      const cell = el(tag, {class: alignment || null, scope});
      const run = new InlineRun(cell);
      run.write(texts[n] ?? "");
      run.end();
      return cell;
    }));
  }
}
