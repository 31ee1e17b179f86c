// Markdown as a stream: text in, in pieces of any size, DOM nodes out. No string is ever markup.
//
// The rules are CommonMark's line by line: each line continues some of the open containers (quotes,
// lists), may open new ones, and the rest of it goes to the leaf inside. So only the innermost open
// block ever grows, and what is closed is not looked at again: the work is linear.
//
// A line is shown before its end as soon as its first characters decide what it is. Lines of code
// and of tables wait for their end. Left out: raw HTML, reference links, rows without a leading bar.

import {el} from "./elements.js";
import {InlineRun} from "./markdown-inline.js";
import {cells, rule, Table} from "./markdown-table.js";

const DECIDES = /[^\s>\-*_+=#~.)\d]/; // not a part of any mark of a block, but "`" and "|"
const WAITS = /^[\s>\-*+.)\d]*(?:`{1,2}$|```|~~~|\|)/; // code and tables are read in whole lines
const LONGEST_WAIT = 10_000; // characters of a line that does not end
const DEEPEST = 16; // containers in containers

const HEADING = /^(#{1,6})(?:[ \t]+|$)/;
const FENCE = /^(`{3,})([^`]*)$|^(~{3,})(.*)$/;
const BREAK = /^(?:(?:\*[ \t]*){3,}|(?:_[ \t]*){3,}|(?:-[ \t]*){3,})$/;
const BULLET = /^([-*+])([ \t]+|$)/;
const NUMBER = /^(\d{1,9})([.)])([ \t]+|$)/;
const UNDERLINE = /^(?:=+|-+)[ \t]*$/;

/** Shows a text that grows. */
export class Markdown {
  #line = ""; // the part of the line that is not decided
  #flowing = false; // the line is decided: what follows goes to the leaf
  #containers;
  #leaf = null;
  #blank = false; // the line before was blank

  /**
   * `codeBlock(language)` gives `{element, code, close}`: where a block of code is shown, and what
   * to do when it is whole.
   */
  constructor(target, codeBlock) {
    this.#containers = [{kind: "document", element: target}];
    this.codeBlock = codeBlock;
  }

  /** Adds text. */
  write(text) {
    const lines = text.replace(/\r/g, "").split("\n");
    lines.forEach((line, n) => {
      const complete = n < lines.length - 1;
      if (this.#flowing) this.#leaf?.write?.(line);
      else {
        this.#line += line;
        if (complete || this.#decided()) this.#take(complete);
      }
      if (complete) {
        this.#flowing = false;
        this.#line = "";
      }
    });
  }

  /** No more text will come. */
  end() {
    if (this.#line && !this.#flowing) this.#take(true);
    this.#close(0);
  }

  #decided() {
    const line = this.#line;
    if (line.length > LONGEST_WAIT) return true;
    return this.#leaf?.kind !== "fence" && DECIDES.test(line) && !WAITS.test(line);
  }

  #take(complete) {
    const line = new Line(this.#line);
    let matched = 1;
    while (matched < this.#containers.length && continues(this.#containers[matched], line)) {
      matched += 1;
    }
    const inside = matched === this.#containers.length;
    if (inside && this.#leaf?.kind === "fence") this.#code(line);
    else if (line.blank) this.#blankLine(matched);
    else this.#text(line, matched, complete);
    this.#blank = line.blank;
    if (!complete) {
      this.#flowing = true;
      this.#line = "";
    }
  }

  // --- lines -------------------------------------------------------------------------------------

  #blankLine(matched) {
    // A quote ends with a line that has no mark; an item goes on behind it.
    const quote = this.#containers.findIndex((c, n) => n >= matched && c.kind === "quote");
    if (quote > 0) this.#close(quote);
    if (this.#leaf?.kind === "indented") this.#leaf.blanks += 1;
    else this.#closeLeaf();
    const last = this.#containers.at(-1);
    if (last.kind === "item" && !last.element.hasChildNodes() && this.#blank) last.over = true;
  }

  #code(line) {
    const {fence, indent, code} = this.#leaf;
    const text = line.rest;
    if (line.indent < 4 && text.startsWith(fence) && /^(`+|~+)[ \t]*$/.test(text)) {
      this.#closeLeaf();
    } else code.append(" ".repeat(Math.max(0, line.indent - indent)) + text + "\n");
  }

  #text(line, matched, complete) {
    let depth = matched;
    let paragraph = this.#leaf?.kind === "paragraph" && depth === this.#containers.length;
    const lazy = this.#leaf?.kind === "paragraph";
    if (this.#leaf?.kind === "table" && depth === this.#containers.length && line.rest[0] === "|") {
      this.#leaf.table.add(line.rest);
      return;
    }
    for (;;) {
      if (line.indent >= 4) {
        if (lazy) break;
        this.#indented(line, depth);
        return;
      }
      if (line.blank) break;
      if (this.#leafStart(line, depth, paragraph)) return;
      const opened = this.#containers.length < DEEPEST && this.#containerStart(line, depth, paragraph);
      if (!opened) break;
      depth = this.#containers.length;
      paragraph = false;
    }
    if (lazy && this.#leaf) { // the paragraph goes on, even without the marks of its containers
      this.#leaf.line(line.rest);
      return;
    }
    this.#close(depth);
    if (line.blank) return;
    this.#open({...paragraphLeaf(), kind: "paragraph"}, complete);
    if (complete && line.rest[0] === "|") this.#leaf.row = line.rest;
    else this.#leaf.write(line.rest);
  }

  #indented(line, depth) {
    if (this.#leaf?.kind !== "indented" || depth < this.#containers.length) {
      this.#close(depth);
      const {element, code} = this.codeBlock("");
      this.#open({kind: "indented", element, code, blanks: 0, write: (text) => code.append(text), close: () => code.append("\n")});
    }
    const {code, blanks} = this.#leaf;
    const start = code.hasChildNodes() ? "\n".repeat(blanks + 1) : "";
    code.append(start + " ".repeat(line.indent - 4) + line.rest);
    this.#leaf.blanks = 0;
  }

  // Blocks that hold text. Says whether the line was one.
  #leafStart(line, depth, paragraph) {
    const text = line.rest;
    if (paragraph && UNDERLINE.test(text) && !this.#leaf.row) {
      this.#leaf.become(text[0] === "=" ? "h1" : "h2");
      this.#closeLeaf();
      return true;
    }
    if (paragraph && this.#leaf.row) {
      const alignments = rule(text), header = cells(this.#leaf.row);
      if (alignments?.length === header.length) {
        const table = new Table(header, alignments);
        this.#leaf.row = "";
        this.#closeLeaf();
        this.#open({kind: "table", table, element: table.element});
        return true;
      }
    }
    const heading = HEADING.exec(text), fence = FENCE.exec(text);
    if (BREAK.test(text)) {
      this.#close(depth);
      this.#open({kind: "break", element: el("hr")});
      this.#closeLeaf();
    } else if (heading) {
      this.#close(depth);
      this.#open(headingLeaf(heading[1].length));
      this.#leaf.write(text.slice(heading[0].length));
      // The rest of its line may still come; the next line is another block.
    } else if (fence) {
      this.#close(depth);
      const language = (fence[2] ?? fence[4]).trim().split(/\s/)[0];
      const {element, code, close} = this.codeBlock(language);
      const mark = fence[1] ?? fence[3];
      const write = (more) => code.append(more); // of a line that was too long to wait for
      this.#open({kind: "fence", element, code, fence: mark, indent: line.indent, write, close});
    } else return false;
    return true;
  }

  // Quotes and items. Says whether the line opened one; `line` is then what is inside.
  #containerStart(line, depth, paragraph) {
    const text = line.rest;
    if (text[0] === ">") {
      this.#close(depth);
      line.skip(1);
      line.skipSpace();
      this.#push({kind: "quote", element: el("blockquote")});
      return true;
    }
    const bullet = BULLET.exec(text), number = bullet ? null : NUMBER.exec(text);
    const match = bullet ?? number;
    if (!match) return false;
    const empty = match[0].length === text.trimEnd().length;
    if (paragraph && (empty || (number && Number(number[1]) !== 1))) return false;
    const kind = bullet ? bullet[1] : number[2];
    this.#intoList(depth, kind, number ? Number(number[1]) : null);
    const outer = line.indent;
    line.skip(match[0].trimEnd().length);
    const space = empty || line.indent > 4 ? 1 : line.indent;
    const width = match[0].trimEnd().length + space;
    line.skipSpace(space);
    this.#push({kind: "item", element: el("li"), indent: outer + width});
    return true;
  }

  // Continues the list that is open at this depth, or opens one.
  #intoList(depth, mark, start) {
    const list = this.#containers[depth - 1];
    if (list.kind === "list" && list.mark === mark) {
      this.#cut(depth);
      if (this.#blank) list.element.classList.add("loose");
      return;
    }
    this.#close(depth);
    const element = el(start === null ? "ul" : "ol");
    if (start !== null && start !== 1) element.start = start;
    this.#push({kind: "list", mark, element});
  }

  // --- the open blocks ---------------------------------------------------------------------------

  #push(container) {
    this.#loosen();
    this.#containers.at(-1).element.append(container.element);
    this.#containers.push(container);
  }

  #open(leaf) {
    this.#closeLeaf();
    this.#loosen();
    this.#containers.at(-1).element.append(leaf.element);
    this.#leaf = leaf;
  }

  // A list in whose items blank lines separate blocks has space between its lines.
  #loosen() {
    const item = this.#containers.at(-1);
    if (this.#blank && item.kind === "item" && item.element.hasChildNodes()) {
      this.#containers.at(-2).element.classList.add("loose");
    }
  }

  #closeLeaf() {
    const leaf = this.#leaf;
    this.#leaf = null;
    leaf?.close?.();
  }

  // Closes what is deeper; a list of which no item is open as well.
  #close(depth) {
    this.#cut(depth > 1 && this.#containers[depth - 1].kind === "list" ? depth - 1 : depth);
  }

  #cut(depth) {
    this.#closeLeaf();
    this.#containers.length = Math.max(1, depth);
  }
}

// --- what a line continues -----------------------------------------------------------------------

function continues(container, line) {
  switch (container.kind) {
    case "quote":
      if (line.indent >= 4 || line.rest[0] !== ">") return false;
      line.skip(1);
      line.skipSpace();
      return true;
    case "item":
      if (line.blank) return !container.over;
      if (line.indent < container.indent) return false;
      line.skipSpace(container.indent);
      return true;
    default:
      return true;
  }
}

// A line that is read from the left: `indent` columns of space, then `rest`.
class Line {
  constructor(text) {
    this.indent = 0;
    this.column = 0;
    this.rest = text;
    this.#measure();
  }

  get blank() { return this.rest === ""; }

  // Takes a mark and what stands before it.
  skip(length) {
    this.column += this.indent + length;
    this.indent = 0;
    this.rest = this.rest.slice(length);
    this.#measure();
  }

  // Takes columns of space.
  skipSpace(columns = 1) {
    const taken = Math.min(columns, this.indent);
    this.indent -= taken;
    this.column += taken;
  }

  #measure() {
    const space = /^[ \t]*/.exec(this.rest)[0];
    for (const char of space) {
      this.indent += char === "\t" ? 4 - ((this.column + this.indent) % 4) : 1;
    }
    this.rest = this.rest.slice(space.length);
  }
}

// --- leaves --------------------------------------------------------------------------------------

function paragraphLeaf() {
  const run = {inline: null};
  return {
    element: el("p"),
    row: "", // a line that may be the header of a table: the next one decides
    started: false,
    write(text) {
      run.inline ??= new InlineRun(this.element);
      run.inline.write(text);
      this.started = true;
    },
    line(text) {
      this.settleRow();
      if (text[0] === "|") this.row = text;
      else this.write(this.started ? `\n${text}` : text);
    },
    settleRow() {
      const {row} = this;
      this.row = "";
      if (row) this.write(this.started ? `\n${row}` : row);
    },
    become(tag) {
      const element = el(tag);
      this.element.replaceWith(element);
      element.append(...this.element.childNodes);
      this.element = run.inline.target = element;
    },
    close() {
      this.settleRow();
      run.inline?.end();
      if (!this.started) this.element.remove();
    },
  };
}

// Closing marks ("## Title ##") are held back until they are known to be text.
function headingLeaf(level) {
  const element = el(`h${level}`);
  const inline = new InlineRun(element);
  let held = "";
  return {
    kind: "heading",
    element,
    write(text) {
      const all = held + text;
      const cut = /[ \t]*#*[ \t]*$/.exec(all).index;
      const shown = all.slice(0, cut);
      held = all.slice(cut);
      inline.write(shown);
    },
    close() {
      if (/^#/.test(held) && element.hasChildNodes()) inline.write(held.trimEnd());
      inline.end();
    },
  };
}
