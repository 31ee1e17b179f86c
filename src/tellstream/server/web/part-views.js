// How each part of an answer looks: text, thinking, tools, pictures. Each view grows with its part.

import {el, icon} from "./elements.js";
import {highlight} from "./highlight.js";
import {Markdown} from "./markdown-blocks.js";
import {work} from "./frames.js";

const PIECE_CHARS = 1000; // shown at once: some two milliseconds
const PICTURES = new Set(["image/png", "image/jpeg", "image/gif", "image/webp"]);
const DONE_MS = 1600; // for which a copy button says that it has copied

/** A button that copies what `text()` gives. */
export function copyButton(text, label) {
  const button = el("button.icon-button", {type: "button", "aria-label": label, title: label});
  button.append(icon("copy"));
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(text());
    button.replaceChildren(icon("done"));
    button.setAttribute("aria-label", "Copied");
    setTimeout(() => {
      button.replaceChildren(icon("copy"));
      button.setAttribute("aria-label", label);
    }, DONE_MS);
  });
  return button;
}

function codeBlock(language) {
  const code = el("code");
  const copy = copyButton(() => code.textContent.replace(/\n$/, ""), "Copy this code");
  const head = el("figcaption", {}, el("span", {}, language || "code"), copy);
  const scrolling = el("pre", {tabindex: "0", "aria-label": `Code, ${language || "plain"}`}, code);
  const close = () => highlight(code, language);
  return {element: el("figure.code", {}, head, scrolling), code, close};
}

// Shows a text that grows, a piece per slice of a frame.
class Growing {
  #shown = 0;
  #working = false;

  constructor(part, write, end) { Object.assign(this, {part, write, end}); }

  update() {
    if (this.#working) return;
    this.#working = true;
    work(() => this.#step());
  }

  #step() {
    const piece = this.part.text.slice(this.#shown, this.#shown + PIECE_CHARS);
    if (piece) this.write(piece);
    this.#shown += piece.length;
    if (this.#shown < this.part.text.length) return true;
    this.#working = false;
    if (this.part.done && this.end) {
      this.end();
      this.end = null;
    }
    return false;
  }
}

function textView(part) {
  const prose = el("div.prose");
  const sources = el("ol.sources", {"aria-label": "Sources", hidden: true});
  const markdown = new Markdown(prose, codeBlock);
  const growing = new Growing(part, (piece) => markdown.write(piece), () => markdown.end());
  return {
    element: el("div.text", {}, prose, sources),
    update() {
      growing.update();
      for (const citation of part.citations.slice(sources.children.length)) {
        sources.append(el("li", {}, source(citation)));
        sources.hidden = false;
      }
    },
  };
}

function source({source_type: type, source: place, source_title: title, source_text: text}) {
  const shown = title || text || String(place);
  if (type === "url" && /^https?:\/\//i.test(place)) {
    const host = new URL(place).host;
    const link = {href: place, rel: "noopener noreferrer nofollow", target: "_blank"};
    return [el("a", link, shown), el("span.quiet", {}, ` ${host}`)];
  }
  return shown;
}

function thinkingView(part) {
  const label = el("span", {}, "Thinking");
  const text = el("div.thought");
  const element = el("details.thinking", {}, el("summary", {}, label), text);
  const growing = new Growing(part, (piece) => text.append(piece));
  return {
    element,
    update() {
      growing.update();
      element.classList.toggle("busy", !part.done);
      label.textContent = part.done ? "Thought about it" : "Thinking";
    },
  };
}

function toolView(part) {
  const name = el("code"), state = el("span.quiet"), given = el("code"), got = el("code");
  const label = `Arguments of a tool call`;
  const element = el("details.tool", {},
    el("summary", {}, "Tool ", name, " ", state),
    el("pre", {tabindex: "0", "aria-label": label}, given),
    el("pre", {tabindex: "0", "aria-label": "Its result", hidden: true}, got));
  return {
    element,
    update() {
      const {arguments: said, result, raw} = part;
      name.textContent = part.name;
      given.textContent = said && !raw ? JSON.stringify(said, null, 2) : raw;
      state.textContent = result ? (result.success ? "done" : "failed") : part.done ? "asked for" : "…";
      element.classList.toggle("busy", !part.done);
      got.parentElement.hidden = !result;
      if (result) got.textContent = result.error ?? readable(result.result);
    },
  };
}

const readable = (value) => (typeof value === "string" ? value : JSON.stringify(value, null, 2));

function searchView(part) {
  const element = el("p.search");
  return {
    element,
    update() {
      element.textContent = `${part.name.replace(/_/g, " ")}: ${part.status.replace(/_/g, " ")}`;
    },
  };
}

function artifactView(part) {
  const element = el("figure.artifact");
  return {
    element,
    update() {
      if (!part.data || element.hasChildNodes()) return;
      const picture = PICTURES.has(part.type);
      // Other types are for saving, never for showing here: they could hold scripts.
      const type = picture ? part.type : "application/octet-stream";
      const address = URL.createObjectURL(new Blob([bytes(part.data)], {type}));
      const text = "A picture made by the model";
      if (picture) element.append(el("img", {src: address, alt: text, loading: "lazy"}));
      const link = el("a", {href: address, download: `artifact.${extension(part.type)}`}, "Save");
      element.append(el("figcaption", {}, el("span.quiet", {}, part.type), link));
    },
  };
}

const extension = (type) => type.split("/").pop().replace(/[^a-z0-9]/g, "") || "bin";

function bytes(text) {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch {
    return new Uint8Array();
  }
}

/** A view of a part: `{element, update()}`. */
export const PART_VIEWS = {
  text: textView,
  thinking: thinkingView,
  tool: toolView,
  search: searchView,
  artifact: artifactView,
};
