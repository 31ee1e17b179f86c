// Where a prompt is written: grows with its text, sends on Enter, and stops what is running.

import {icon} from "./elements.js";

export class Composer {
  #running = false;

  /** `send(text)` and `stop()` are called when the person wants it. */
  constructor(form, {send, stop}) {
    this.input = form.querySelector("textarea");
    this.button = form.querySelector("button");
    this.problem = form.querySelector("[role=alert]");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#running) stop();
      else this.#send(send);
    });
    this.input.addEventListener("input", () => this.#changed());
    this.input.addEventListener("keydown", (event) => {
      // Not while an input method composes a word, and not where a key makes a new line.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#running) this.#send(send);
    });
    this.#changed();
  }

  /** Whether an answer is on its way. */
  set running(running) {
    this.#running = running;
    this.button.replaceChildren(icon(running ? "stop" : "send"));
    this.button.setAttribute("aria-label", running ? "Stop the answer" : "Send");
    this.button.classList.toggle("stop", running);
    this.#changed();
  }

  set text(text) {
    this.input.value = text;
    this.#changed();
    this.input.focus();
  }

  /** Says what is wrong with what was sent. */
  complain(text) {
    this.problem.textContent = text;
    this.problem.hidden = !text;
  }

  #send(send) {
    const text = this.input.value.trim();
    if (!text) return;
    this.input.value = "";
    this.complain("");
    this.#changed();
    send(text);
  }

  #changed() {
    this.button.disabled = !this.#running && !this.input.value.trim();
    this.input.style.height = "auto";
    this.input.style.height = `${this.input.scrollHeight}px`;
  }
}
