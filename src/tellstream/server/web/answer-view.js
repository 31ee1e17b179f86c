// One turn on the page: what was asked, and the answer as it grows.

import {spoken} from "./answer.js";
import {el, icon} from "./elements.js";
import {copyButton, PART_VIEWS} from "./part-views.js";
import {duration, errorText, finishText, usageText} from "./words.js";

/** What a person wrote. */
export function promptView(prompt) {
  const name = el("h3.hidden", {}, "You");
  const text = el("div.bubble", {}, prompt);
  const copy = copyButton(() => prompt, "Copy this message");
  return el("article.prompt", {}, name, text, el("div.actions", {}, copy));
}

/** An answer. `onRetry` is called when the person wants to try again. */
export class AnswerView {
  #views = new Map();

  constructor(answer, onRetry) {
    this.answer = answer;
    this.parts = el("div.parts");
    this.waiting = el("p.waiting", {}, el("span.dots", {"aria-hidden": "true"}), el("span", {}, "Waiting for the answer"));
    this.note = el("p.note", {hidden: true});
    this.problem = el("div.problem", {hidden: true});
    this.retry = el("button", {type: "button", onclick: onRetry}, "Try again");
    this.numbers = el("span.numbers");
    this.copy = copyButton(() => spoken(answer), "Copy this answer");
    const actions = el("div.actions", {}, this.copy, this.numbers);
    this.element = el("article.answer", {"aria-busy": "true"},
      el("h3.hidden", {}, "Answer"), this.waiting, this.parts, this.note, this.problem, actions);
    for (const part of answer.parts) this.update(part);
    this.settle();
  }

  /** A part is new or has changed. */
  update(part) {
    let view = this.#views.get(part);
    if (!view) {
      view = PART_VIEWS[part.kind](part);
      this.#views.set(part, view);
      this.parts.append(view.element);
      this.waiting.hidden = true;
    }
    view.update();
  }

  /** Says how things stand: `connection` is null, or says that it is lost and until when. */
  settle(connection = null) {
    const {answer} = this;
    const over = answer.finish !== null;
    this.element.setAttribute("aria-busy", String(!over));
    this.element.classList.toggle("over", over);
    this.element.classList.toggle("lost", !over && connection !== null);
    this.waiting.hidden = over || (answer.parts.length > 0 && !connection);
    this.waiting.lastChild.textContent = connection ?? "Waiting for the answer";
    const note = over && !answer.error ? finishText(answer.finish) || this.#empty() : "";
    this.note.hidden = !note;
    this.note.textContent = note;
    this.problem.hidden = !answer.error;
    if (answer.error) this.problem.replaceChildren(el("p", {}, errorText(answer.error)), this.retry);
    this.copy.hidden = !over || !spoken(answer);
    this.numbers.textContent = over ? this.#summary() : "";
    this.numbers.title = [answer.provider, answer.answeredBy].filter(Boolean).join(": ");
    if (over) for (const part of answer.parts) {
      if (part.done === false) { // broken off
        part.done = true;
        this.update(part);
      }
    }
  }

  #empty() { return this.answer.parts.length ? "" : "The answer is empty."; }

  #summary() {
    const {model, usage, startedAt, endedAt, position} = this.answer;
    const time = position && endedAt ? duration(endedAt - startedAt) : "";
    return [model, usage && usageText(usage), time].filter(Boolean).join(" · ");
  }
}

/** What stands where no turn is yet. */
export function emptyView(onChoose) {
  const ideas = [
    "Explain server-sent events in three sentences",
    "Write a Python function that merges two sorted lists",
    "Plan a quiet weekend in the mountains",
  ];
  return el("section.empty", {"aria-label": "Start"},
    el("div.mark", {}, icon("chat")),
    el("h2", {}, "What would you like to ask?"),
    el("p.quiet", {}, "Reload the page or lose the network: an answer goes on where it was."),
    el("ul.ideas", {}, ideas.map((idea) =>
      el("li", {}, el("button", {type: "button", onclick: () => onChoose(idea)}, idea)))));
}
