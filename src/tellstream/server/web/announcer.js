// Reads a growing answer to those who listen: whole sentences, not too often, never interrupting.

const PAUSE_MS = 2500; // between two announcements
const MOST_CHARS = 600; // of one; who wants all of a fast answer reads the page

/** Speaks through an `aria-live` region. */
export class Announcer {
  #waiting = "";
  #timer = null;

  constructor(region) { this.region = region; }

  /** More of the answer. */
  add(text) {
    if (this.#waiting.length < MOST_CHARS * 2) this.#waiting += text;
    this.#timer ??= setTimeout(() => this.#speak(false), PAUSE_MS);
  }

  /** Something in one piece, after what is waiting. */
  say(text) {
    this.#waiting = this.#waiting ? `${this.#waiting} ${text}` : text;
    this.#speak(true);
  }

  #speak(all) {
    clearTimeout(this.#timer);
    this.#timer = null;
    const end = all ? this.#waiting.length : sentences(this.#waiting);
    const text = this.#waiting.slice(0, end).replace(/[*_`#>|]+/g, " ").replace(/\s+/g, " ").trim();
    this.#waiting = this.#waiting.slice(end);
    if (text) this.region.replaceChildren(text.slice(-MOST_CHARS));
    if (this.#waiting) this.#timer = setTimeout(() => this.#speak(false), PAUSE_MS);
  }
}

function sentences(text) {
  const found = /^[^]*[.!?:\n](?=\s)/.exec(text);
  return found ? found[0].length : text.length > MOST_CHARS ? text.length : 0;
}
