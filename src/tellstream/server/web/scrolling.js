// The end of the page stays in view while it grows, unless the reader has scrolled away from it.

const NEAR = 48; // pixels from the end that still count as the end

/** Follows the end of `area`; `button` goes back to it. */
export class Scrolling {
  #following = true;
  #last = 0;

  constructor(area, button) {
    Object.assign(this, {area, button});
    area.addEventListener("scroll", () => this.#scrolled(), {passive: true});
    button.addEventListener("click", () => this.toEnd());
    // A turned phone, a keyboard that opens, a message of several lines: the end stays the end.
    new ResizeObserver(() => this.grown()).observe(area);
  }

  /** Goes to the end and follows it from now on. */
  toEnd() {
    this.#following = true;
    this.grown();
  }

  /** The page has grown. */
  grown() {
    if (this.#following) {
      this.area.scrollTop = this.area.scrollHeight;
      this.#last = this.area.scrollTop;
    }
    this.#show();
  }

  #scrolled() {
    const {scrollTop} = this.area;
    const end = this.#distance() <= NEAR;
    if (scrollTop < this.#last - 1 && !end) this.#following = false; // up: the reader's own will
    else if (end) this.#following = true;
    this.#last = scrollTop;
    this.#show();
  }

  #distance() {
    const {scrollHeight, scrollTop, clientHeight} = this.area;
    return scrollHeight - scrollTop - clientHeight;
  }

  #show() { this.button.hidden = this.#following || this.#distance() <= NEAR; }
}
