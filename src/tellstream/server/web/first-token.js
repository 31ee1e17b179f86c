// Times to the first token, as usage tells them: figures, and counts of streams in classes.

const MORE = "more"; // the class that has no longest time
// Classes are named by their longest time; one begins where the one before it ends.
const BOUNDS = [100, 200, 300, 500, 700, 1000, 1500, 2000, 3000, 5000, 7000, 10_000, 20_000, 30_000, 60_000];

/** Milliseconds as people read them: `420 ms`, `1.4 s`, `38 s`. */
export function wait(milliseconds) {
  if (milliseconds < 1000) return `${Math.round(milliseconds)}\u00a0ms`;
  const seconds = milliseconds / 1000;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)}\u00a0s`;
}

/** Milliseconds at an axis, without and with their unit. */
export const seconds = (milliseconds) => String(+(milliseconds / 1000).toFixed(2));
export const axis = (milliseconds) => (milliseconds ? `${seconds(milliseconds)} s` : "0");

/** The times of several rows together; null: none of them had any. */
export function merged(rows) {
  const known = rows.map((row) => row.first_token_ms).filter(Boolean);
  if (!known.length) return null;
  const sum = (value) => known.reduce((all, each) => all + value(each), 0);
  const streams = sum((each) => each.streams);
  const max = Math.max(...known.map((each) => each.max));
  const all = [...BOUNDS, MORE].map((bound) => [bound, sum((each) => each.counts[bound] ?? 0)]);
  const counts = Object.fromEntries(all.filter(([, n]) => n));
  const quantile = (share) => estimate(counts, max, share * streams);
  const mean = Math.round(sum((each) => each.mean * each.streams) / streams);
  return {streams, mean, p50: quantile(0.5), p95: quantile(0.95), max, counts};
}

// Times are taken to be spread evenly over their class, as the server takes them.
function estimate(counts, max, rank) {
  let before = 0;
  for (const {from, to, count} of classes({counts, max})) {
    if (count && before + count >= rank) {
      const high = Math.min(to, max);
      return Math.round(from + (high - from) * Math.max(0, rank - before) / count);
    }
    before += count;
  }
  return max;
}

/** The classes up to the last that has a stream: `{from, to, count}`. */
export function classes({counts, max}) {
  const all = [...BOUNDS, MORE].map((bound, n) => ({
    from: BOUNDS[n - 1] ?? 0,
    to: bound === MORE ? max : bound,
    count: counts[bound] ?? 0,
  }));
  return all.slice(0, all.findLastIndex(({count}) => count) + 1);
}
