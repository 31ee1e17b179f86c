// Work on the page in slices of a few milliseconds, one slice per frame.

const SLICE_MS = 5; // of the 16 of a frame; layout takes its part of the rest
const tasks = new Set();
const afterwards = new Set();
let asked = false;

/** Do some work in each frame until `step` says that nothing is left (returns false). */
export function work(step) {
  tasks.add(step);
  ask();
}

/** Do something in the end of each frame in which there was work. */
export function afterWork(action) { afterwards.add(action); }

function ask() {
  if (asked) return;
  asked = true;
  requestAnimationFrame(run);
}

function run() {
  asked = false;
  const end = performance.now() + SLICE_MS;
  for (const step of tasks) {
    let more = true;
    while (more && performance.now() < end) more = step();
    if (!more) tasks.delete(step);
  }
  for (const action of afterwards) action();
  if (tasks.size) ask();
}

/** Lets the browser do what waits, if this piece of work has taken a slice already. */
export class Breath {
  #since = performance.now();

  /** Gives nothing, or a promise to wait for. */
  taken() {
    if (performance.now() - this.#since < SLICE_MS) return null;
    return pause().then(() => { this.#since = performance.now(); });
  }
}

const pause = () =>
  globalThis.scheduler?.yield?.() ?? new Promise((resolve) => { setTimeout(resolve); });
