// Markdown inside a block: emphasis, code, links. Text in, DOM nodes out; no string is ever markup.
//
// The rules are CommonMark's, with ~~strikethrough~~ and bare addresses as on GitHub, and without
// raw HTML, reference links and pictures (a picture becomes a link to it: nothing is loaded).
//
// `InlineRun` grows with a stream. What can no longer change is settled: its nodes stay, and only
// the rest is read again when more text comes. The rest is bounded, so the work is linear.

const HOLD_CHARS = 1000; // an emphasis or link that is open for longer is none
const PIECE_CHARS = 1000; // read at once
const DEEPEST = 20; // emphasis in emphasis
const SAFE = /^(?:https?:\/\/|mailto:)/i;
const ADDRESS = /^https?:\/\/[^\s<>"]+/i;
const AUTOLINK = /^<((?:https?:\/\/|mailto:)[^\s<>]*)>/i;
const EMAIL = /^<([A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+)>/;
const ENTITY = /^&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([A-Za-z]{2,8}));/i;
const ENTITIES = {
  amp: "&", lt: "<", gt: ">", quot: '"', apos: "'", nbsp: "\u00a0", copy: "©", reg: "®",
  trade: "™", hellip: "…", mdash: "—", ndash: "–", times: "×", middot: "·", bull: "•", deg: "°",
  larr: "←", rarr: "→", uarr: "↑", darr: "↓", le: "≤", ge: "≥", ne: "≠", euro: "€", pound: "£",
};
const PUNCTUATION = /[\p{P}\p{S}]/u;
const ESCAPABLE = /[!-/:-@[-`{-~]/;
const PLAIN = /[^\\`*_~[\]!<&\nh]+|h/y; // "h": of http
const SPECIAL_AT_END = /[ \t\n]+$/;

/** A run of inline text that grows. */
export class InlineRun {
  #rest = ""; // not settled
  #before = ""; // the character before it
  #open = []; // its nodes

  constructor(target) { this.target = target; }

  /** Adds text. */
  write(text) {
    for (let at = 0; at < text.length; at += PIECE_CHARS) {
      this.#rest += text.slice(at, at + PIECE_CHARS);
      this.#read(false);
    }
  }

  /** No more text will come. */
  end() {
    this.#rest = this.#rest.replace(SPECIAL_AT_END, "");
    this.#read(true);
  }

  #read(ended) {
    for (const node of this.#open) node.remove();
    this.#open = [];
    if (!this.#rest) return;
    const reader = new Reader(this.#rest, this.#before, ended);
    const items = reader.read();
    let settled = ended ? this.#rest.length : reader.settled();
    if (!ended && this.#rest.length - settled > HOLD_CHARS) settled = this.#rest.length;
    for (const item of items) {
      if (item.start < settled && item.end > settled && !item.raw) settled = item.start;
    }
    const done = [], open = [];
    for (const item of items) {
      if (item.end <= settled) done.push(item);
      else if (item.start >= settled) open.push(item);
      else {
        const cut = settled - item.start;
        done.push({...item, text: item.text.slice(0, cut)});
        open.push({...item, text: item.text.slice(cut)});
      }
    }
    for (const item of joined(done)) this.#settle(item);
    this.#open = [...joined(open)].map(built);
    this.target.append(...this.#open);
    if (settled) this.#before = this.#rest[settled - 1];
    this.#rest = this.#rest.slice(settled);
  }

  #settle(item) {
    const last = this.target.lastChild;
    if (item.kind === "text" && last?.nodeType === Node.TEXT_NODE) last.appendData(item.text);
    else this.target.append(built(item));
  }
}

// --- building ------------------------------------------------------------------------------------

function built(item) {
  if (item.kind === "text") return document.createTextNode(item.text);
  const element = document.createElement(item.tag);
  if (item.tag === "a") {
    element.href = item.href;
    element.rel = "noopener noreferrer nofollow";
    element.target = "_blank";
    if (item.picture) element.className = "picture";
  }
  if (item.text) element.append(item.text);
  for (const child of joined(item.children ?? [])) element.append(built(child));
  return element;
}

function* joined(items) {
  let text = "";
  for (const item of items) {
    if (item.kind === "text") text += item.text;
    else {
      if (text) yield {kind: "text", text};
      text = "";
      yield item;
    }
  }
  if (text) yield {kind: "text", text};
}

// --- reading -------------------------------------------------------------------------------------

class Reader {
  constructor(text, before, ended) {
    Object.assign(this, {text, before, ended, at: 0, items: [], brackets: [], held: Infinity});
  }

  read() {
    while (this.at < this.text.length) this.#next();
    emphasize(this.items, 0);
    for (const item of this.items) {
      if (item.kind !== "run") continue;
      if (item.opens) this.#hold(item.start);
      item.kind = "text";
      item.text = item.char.repeat(item.count);
    }
    return this.items;
  }

  /** Up to where nothing that follows can change the meaning. */
  settled() {
    for (const bracket of this.brackets) this.#hold(bracket.start);
    const white = this.text.match(/^[^]*\S(?=\s+\S*$)/);
    return Math.min(this.held, white ? white[0].length : 0);
  }

  #hold(position) { this.held = Math.min(this.held, position); }

  #text(length, text, raw = false) {
    const {at: start} = this;
    this.at += length;
    this.items.push({kind: "text", text, start, end: this.at, raw});
  }

  #next() {
    const {text, at} = this;
    switch (text[at]) {
      case "\\": return this.#escape();
      case "`": return this.#code();
      case "*": case "_": case "~": return this.#run();
      case "!": return this.#picture();
      case "[": return this.#bracket(false);
      case "]": return this.#link();
      case "<": return this.#autolink();
      case "&": return this.#entity();
      case "\n": return this.#newline();
    }
    if (text[at] === "h" && !/\w/.test(text[at - 1] ?? this.before) && this.#address()) return;
    PLAIN.lastIndex = at;
    const plain = PLAIN.exec(text)[0];
    // Two spaces before a line end make a break, which may come with the next piece.
    this.#text(plain.length, plain, true);
  }

  #escape() {
    const next = this.text[this.at + 1];
    if (next === "\n") {
      this.items.push({kind: "element", tag: "br", start: this.at, end: this.at + 2});
      this.at += 2;
    } else if (next && ESCAPABLE.test(next)) this.#text(2, next);
    else this.#text(1, "\\");
  }

  #newline() {
    const last = this.items.at(-1);
    const spaces = last?.raw ? /[ \t]*$/.exec(last.text)[0].length : 0;
    if (spaces) {
      last.text = last.text.slice(0, -spaces);
      last.end -= spaces;
    }
    let end = this.at + 1;
    while (this.text[end] === " ") end += 1;
    const place = {start: this.at - spaces, end};
    const broken = spaces >= 2 && last.end + spaces === this.at;
    if (broken) this.items.push({kind: "element", tag: "br", ...place});
    else this.items.push({kind: "text", text: "\n", ...place});
    this.at = end;
  }

  #entity() {
    const match = ENTITY.exec(this.text.slice(this.at, this.at + 12));
    const [whole, hex, decimal, name] = match ?? ["&"];
    const code = hex ? parseInt(hex, 16) : decimal ? Number(decimal) : null;
    let meant = whole;
    if (code !== null) {
      const good = code > 0 && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
      meant = good ? String.fromCodePoint(code) : "\ufffd";
    } else if (name && Object.hasOwn(ENTITIES, name)) meant = ENTITIES[name];
    this.#text(whole.length, meant);
  }

  #code() {
    const {text, at} = this;
    const ticks = /^`+/.exec(text.slice(at))[0].length;
    for (const match of text.slice(at + ticks).matchAll(/`+/g)) {
      if (match[0].length !== ticks) continue;
      const end = at + ticks + match.index + ticks;
      if (end === text.length && !this.ended) this.#hold(at); // the run may grow
      let inside = text.slice(at + ticks, end - ticks).replace(/\n/g, " ");
      if (inside.trim() && inside[0] === " " && inside.endsWith(" ")) inside = inside.slice(1, -1);
      this.items.push({kind: "element", tag: "code", text: inside, start: at, end});
      this.at = end;
      return;
    }
    this.#hold(at);
    this.#text(ticks, "`".repeat(ticks));
  }

  #run() {
    const {text, at} = this;
    const char = text[at];
    let end = at + 1;
    while (text[end] === char) end += 1;
    const count = end - at;
    if (char === "~" && count !== 2) return this.#text(count, char.repeat(count));
    const before = previous(text, at) || this.before || "\n";
    const after = end < text.length ? String.fromCodePoint(text.codePointAt(end)) : "\n";
    const spaceBefore = /\s/.test(before), spaceAfter = /\s/.test(after);
    const punctuationBefore = PUNCTUATION.test(before), punctuationAfter = PUNCTUATION.test(after);
    const left = !spaceAfter && (!punctuationAfter || spaceBefore || punctuationBefore);
    const right = !spaceBefore && (!punctuationBefore || spaceAfter || punctuationAfter);
    const strict = char === "_";
    this.items.push({
      kind: "run", char, count, original: count, start: at, end,
      opens: left && (!strict || !right || punctuationBefore),
      closes: right && (!strict || !left || punctuationAfter),
    });
    this.at = end;
  }

  #picture() {
    if (this.text[this.at + 1] === "[") this.#bracket(true);
    else this.#text(1, "!");
  }

  #bracket(picture) {
    const {at: start} = this;
    this.#text(picture ? 2 : 1, picture ? "![" : "[");
    this.brackets.push({start, index: this.items.length - 1, picture, dead: false});
  }

  #link() {
    const {at} = this;
    const bracket = this.brackets.pop();
    this.#text(1, "]");
    if (!bracket) return;
    const target = this.text[at + 1] === "(" ? destination(this.text, at + 2) : null;
    const undecided = this.text.length === at + 1 || (target?.open ?? false);
    if (undecided && !this.ended) this.#hold(bracket.start);
    if (bracket.dead || !target || target.open) return;
    const children = this.items.splice(bracket.index).slice(1, -1);
    emphasize(children, 0);
    children.splice(0, Infinity, ...children.map(asText));
    if (bracket.picture && !children.length) children.push({kind: "text", text: "picture"});
    this.at = target.end;
    const place = {start: bracket.start, end: target.end};
    if (!SAFE.test(target.href)) { // nothing else may be followed
      this.items.push({kind: "element", tag: "span", children, ...place});
    } else {
      const {picture} = bracket;
      this.items.push({kind: "element", tag: "a", href: target.href, children, picture, ...place});
    }
    if (!bracket.picture) for (const outer of this.brackets) outer.dead ||= !outer.picture;
  }

  #autolink() {
    const rest = this.text.slice(this.at, this.at + HOLD_CHARS);
    const address = AUTOLINK.exec(rest), email = address ? null : EMAIL.exec(rest);
    if (!address && !email) return this.#text(1, "<");
    const [whole, shown] = address ?? email;
    this.#anchor(whole.length, email ? `mailto:${shown}` : shown, shown);
  }

  #address() {
    if (this.brackets.some((bracket) => !bracket.dead)) return false;
    const match = ADDRESS.exec(this.text.slice(this.at, this.at + HOLD_CHARS));
    if (!match) return false;
    let address = match[0].replace(/[?!.,:;'"\]*_~`]+$/, "");
    while (address.endsWith(")") && count(address, ")") > count(address, "(")) {
      address = address.slice(0, -1).replace(/[?!.,:;'"\]*_~`]+$/, "");
    }
    if (!/^https?:\/\/./i.test(address)) return false;
    this.#anchor(address.length, address, address);
    return true;
  }

  #anchor(length, href, text) {
    this.items.push({kind: "element", tag: "a", href, text, start: this.at, end: this.at + length});
    this.at += length;
  }
}

const count = (text, char) => text.split(char).length - 1;

function previous(text, at) {
  if (!at) return "";
  const low = text[at - 1];
  return /[\udc00-\udfff]/.test(low) ? text.slice(at - 2, at) : low;
}

// Reads `(address "title")` behind its bracket; `open`: the text ended before it did.
function destination(text, from) {
  const rest = text.slice(from, from + HOLD_CHARS);
  const pattern = /^\s*(?:<([^<>\n]*)>|((?:[^\s()\\]|\\.|\((?:[^\s()\\]|\\.)*\))*))(?:\s+(?:"(?:[^"\\]|\\[^])*"|'(?:[^'\\]|\\[^])*'|\((?:[^()\\]|\\[^])*\)))?\s*\)/;
  const match = pattern.exec(rest);
  if (match) {
    const href = (match[1] ?? match[2]).replace(/\\([!-/:-@[-`{-~])/g, "$1").replace(/&amp;/g, "&");
    return {href, end: from + match[0].length, open: false};
  }
  const undecided = from + rest.length === text.length && rest.length < HOLD_CHARS;
  return undecided ? {open: true} : null;
}

// Matches closing runs with opening ones (CommonMark, appendix "process emphasis").
function emphasize(items, from) {
  const bottoms = new Map();
  for (let closer = from; closer < items.length; closer += 1) {
    const close = items[closer];
    if (close.kind !== "run" || !close.closes) continue;
    const kind = `${close.char}${close.opens}${close.original % 3}`;
    let opener = closer - 1;
    const bottom = bottoms.get(kind);
    while (opener >= from && items[opener] !== bottom && !opensFor(items[opener], close)) opener -= 1;
    const open = items[opener];
    if (opener < from || open === bottom) {
      if (closer > from) bottoms.set(kind, items[closer - 1]);
      continue;
    }
    const taken = close.char === "~" || (open.count >= 2 && close.count >= 2) ? 2 : 1;
    const children = items.slice(opener + 1, closer).map(asText);
    const element = {
      kind: "element",
      tag: close.char === "~" ? "del" : taken === 2 ? "strong" : "em",
      children,
      start: open.start + open.count - taken,
      end: close.start + taken,
      depth: 1 + Math.max(0, ...children.map((child) => child.depth ?? 0)),
    };
    if (element.depth > DEEPEST) Object.assign(element, {tag: "span", depth: DEEPEST});
    open.count -= taken;
    open.end -= taken;
    close.count -= taken;
    close.start += taken;
    const kept = [open, element, close].filter((item) => item.kind === "element" || item.count);
    items.splice(opener, closer - opener + 1, ...kept);
    closer = items.indexOf(close, opener) >= 0 ? items.indexOf(close, opener) - 1 : opener + kept.length - 1;
  }
}

function opensFor(item, close) {
  if (item.kind !== "run" || !item.opens || item.char !== close.char) return false;
  const odd = (item.closes || close.opens) && (item.original + close.original) % 3 === 0;
  return !odd || (item.original % 3 === 0 && close.original % 3 === 0);
}

const asText = (item) =>
  item.kind === "run" ? {...item, kind: "text", text: item.char.repeat(item.count)} : item;
