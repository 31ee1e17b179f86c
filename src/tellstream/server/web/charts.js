// Charts as drawings of our own: bars over days, and bars beside names. Each has a table beside it.

import {el, svg} from "./elements.js";
import {brief} from "./words.js";

const HEIGHT = 200, TOP = 12, BOTTOM = 24, LEFT = 48;
const LINES = 4; // across the chart, for reading values
const LABEL_WIDTH = 72; // of a day's name
const WIDEST_BAR = 40;

/** A round number at least as large as `most`, and steps to it; of counts the steps are whole. */
export function scale(most, whole = false) {
  if (!(most > 0)) return {top: 1, steps: [0, 1]};
  const rough = whole ? Math.max(1, most / LINES) : most / LINES;
  const magnitude = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map((n) => n * magnitude)
    .find((n) => n >= rough * 0.999_999 && (!whole || Number.isInteger(n)));
  const count = Math.ceil(most / step - 1e-9);
  return {top: count * step, steps: Array.from({length: count + 1}, (_, n) => n * step)};
}

/** What the colours of a drawing mean: `{name, series}`. */
export const legend = (parts) =>
  el("p.legend", {}, parts.map(({name, series}) => el(`span.key.${series}`, {}, name)));

/**
 * Bars side by side, stacked: `rows` of `{label, values, title}`, one value per series.
 *
 * `name` says what the drawing shows to those who cannot see it. `format` writes the values at the
 * axis, `series` are the classes of colours, a label takes `labels` pixels, `whole` are counts.
 */
export function columns(name, rows, width, {
  format = brief, series = ["series-1"], labels = LABEL_WIDTH, whole = false,
} = {}) {
  const most = Math.max(0, ...rows.map(({values}) => values.reduce((sum, v) => sum + v, 0)));
  const {top, steps} = scale(most, whole);
  const high = HEIGHT - TOP - BOTTOM, wide = width - LEFT;
  const y = (value) => TOP + high * (1 - value / top);
  const slot = wide / Math.max(1, rows.length);
  const bar = Math.min(WIDEST_BAR, Math.max(1, slot * 0.68));
  const every = Math.ceil(labels / slot);
  const drawing = svg("svg", {
    "viewBox": `0 0 ${width} ${HEIGHT}`, "width": width, "height": HEIGHT,
    "role": "img", "aria-label": name, "class": "chart",
  });
  for (const step of steps) {
    drawing.append(
      svg("line", {x1: LEFT, x2: width, y1: y(step), y2: y(step), class: step ? "rule" : "rule base"}),
      svg("text", {"x": LEFT - 8, "y": y(step) + 4, "text-anchor": "end"}, format(step)));
  }
  rows.forEach(({label, values, title}, n) => {
    const x = LEFT + slot * n + (slot - bar) / 2;
    const group = svg("g", {class: "column"}, svg("title", {}, title));
    group.append(svg("rect", {x: LEFT + slot * n, y: TOP, width: slot, height: high, class: "reach"}));
    let below = 0;
    values.forEach((value, n) => {
      if (!value) return;
      const place = {x, width: bar, y: y(below + value), height: Math.max(1, y(below) - y(below + value))};
      group.append(svg("rect", {...place, rx: Math.min(2, bar / 4), class: series[n]}));
      below += value;
    });
    drawing.append(group);
    if ((rows.length - 1 - n) % every === 0) {
      const middle = x + bar / 2, atEnd = middle > width - labels / 2;
      const place = {"x": atEnd ? width : middle, "text-anchor": atEnd ? "end" : "middle"};
      drawing.append(svg("text", {...place, y: HEIGHT - 6}, label));
    }
  });
  return drawing;
}

/** Bars beside names, stacked: `rows` of `{label, values, text}`, one value per series. */
export function ranking(rows, series) {
  const length = (values) => values.reduce((sum, value) => sum + value, 0);
  const most = Math.max(1, ...rows.map(({values}) => length(values)));
  return el("ul.ranking", {}, rows.map(({label, values, text}) => {
    const drawing = svg("svg", {"viewBox": "0 0 100 1", "preserveAspectRatio": "none", "aria-hidden": "true"},
      svg("rect", {width: 100, height: 1, class: "track"}));
    values.forEach((value, n) => {
      const x = (100 * length(values.slice(0, n))) / most;
      drawing.append(svg("rect", {x, width: (100 * value) / most, height: 1, class: series[n]}));
    });
    return el("li", {}, el("span.what", {title: label}, label), el("span.how-much", {}, text), drawing);
  }));
}

/** The same in a table, folded: `head` and `rows` are texts, `name` is that of the drawing. */
export function table(name, head, rows) {
  const cells = (tag, texts) => texts.map((text, n) =>
    el(tag, {scope: tag === "th" ? "col" : null, class: n ? "right" : null}, text));
  return el("details.figures", {},
    el("summary", {}, "As a table", el("span.hidden", {}, `: ${name}`)),
    el("div.table", {"tabindex": "0", "role": "region", "aria-label": `${name}, as a table`},
      el("table", {},
        el("thead", {}, el("tr", {}, cells("th", head))),
        el("tbody", {}, rows.map((row) => el("tr", {}, cells("td", row)))))));
}
