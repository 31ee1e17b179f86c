// The report of the usage page: figures, drawings over days and beside names, each with its table.

import {columns, legend, ranking, table} from "./charts.js";
import {el} from "./elements.js";
import {axis, classes, merged, seconds, wait} from "./first-token.js";
import {failed, kinds, reasons} from "./outcomes.js";
import {amount, brief, count, day, money, percent} from "./words.js";

const DAY_MS = 86_400_000;
const SHOWN = 12; // rows of a ranking; all are in its table
const CLASS_WIDTH = 26; // of the name of a class of times
const PAGE_CLIENT = "tellstream-page";
const TOKENS = [{name: "read", series: "series-1"}, {name: "written", series: "series-2"}];
const TIMES = [
  {name: "half within", series: "series-1"},
  {name: "95 of 100 within", series: "series-2"},
];
const TOKEN_HEAD = ["Streams", "Tokens read", "of them cached", "Tokens written", "of them thinking", "Estimated", "Cost"];
const TIME_HEAD = ["Streams", "Average", "Half within", "95 of 100 within", "Longest"];
const NAMES = {model: "Model", client: "Client"};

const known = (number) => (number === null ? "–" : count(number));
const tokens = (row) => row.prompt_tokens + row.completion_tokens;
const cost = (row) => Number(row.cost ?? 0);
const costText = (row) => (row.cost === null ? "–" : money(Number(row.cost)));
const total = (rows, value) => rows.reduce((sum, row) => sum + value(row), 0);
const streams = (row) => row.streams;
const times = (row) => row.first_token_ms;
const first = (row) => (times(row) ? [times(row).p50, times(row).p95 - times(row).p50] : [0, 0]);
const within = ({p50, p95}) => `half within ${wait(p50)}, 95 of 100 within ${wait(p95)}`;
const plural = (n, word) => `${count(n)} ${word}${n === 1 ? "" : "s"}`;

const tokenFigures = (row) => [
  count(row.streams), count(row.prompt_tokens), known(row.cache_read_input_tokens),
  count(row.completion_tokens), known(row.thought_tokens), count(row.estimated_streams), costText(row),
];
const timeFigures = (row) => {
  const {streams: n, mean, p50, p95, max} = times(row);
  return [count(n), ...[mean, p50, p95, max].map(wait)];
};

export class Report {
  #drawings = [];

  /** What to show, of the rows by day, by model and by client; `range` has `from` and `to`. */
  constructor(range, days, models, clients) {
    this.days = days;
    this.all = everyDay(range, days);
    this.named = {model: models, client: clients};
    this.priced = days.some((row) => row.cost !== null);
    this.elements = [
      this.#tiles(),
      ...this.#tokens(),
      ...(merged(days) ? this.#times() : []),
      ...this.#outcomes(),
    ];
  }

  /** Draw what has a width; again when the width is another. */
  draw() {
    for (const {place, drawn} of this.#drawings) {
      if (place.clientWidth) place.replaceChildren(drawn(place.clientWidth));
    }
  }

  #tiles() {
    const {days} = this;
    const number = total(days, streams), wrong = total(days, failed);
    const read = total(days, (row) => row.prompt_tokens);
    const written = total(days, (row) => row.completion_tokens);
    const cached = total(days, (row) => row.cache_read_input_tokens ?? 0);
    const thought = total(days, (row) => row.thought_tokens ?? 0);
    const time = merged(days), spent = total(days, cost);
    const tiles = [
      ["Streams", count(number), wrong ? `${count(wrong)} failed` : "none failed"],
      ["Tokens read", brief(read), cached ? `${percent(cached / read)} from a cache` : ""],
      ["Tokens written", brief(written), thought ? `${percent(thought / written)} thinking` : ""],
      ["Cost", this.priced ? money(spent) : "–", this.priced ? `${money(spent / this.all.length)} a day` : "no price is set"],
      ["First token, median", time ? wait(time.p50) : "–", time ? `95 of 100 within ${wait(time.p95)}` : ""],
    ];
    return el("dl.tiles", {}, tiles.map(([name, value, note]) =>
      el("div", {}, el("dt", {}, name), el("dd", {}, value), note ? el("dd.note", {}, note) : null)));
  }

  #tokens() {
    const title = (row) =>
      `${day(row.day)}: ${count(row.prompt_tokens)} read, ${count(row.completion_tokens)} written`;
    const ranked = (key) => this.#ranking("Tokens", key, tokens, this.named[key], [], (row) => ({
      values: [tokens(row)],
      text: `${brief(tokens(row))} tokens${row.cost === null ? "" : ` · ${costText(row)}`}`,
    }), TOKEN_HEAD, tokenFigures);
    return [
      el("h2", {}, "Tokens and cost"),
      card("Tokens per day", legend(TOKENS), this.#overDays("Tokens per day", TOKENS, (row) => ({
        values: [row.prompt_tokens, row.completion_tokens], title: title(row),
      })), table("Tokens per day", ["Day", ...TOKEN_HEAD], this.days.map((row) => [row.day, ...tokenFigures(row)]))),
      this.priced && card("Cost per day", this.#overDays("Cost per day", TOKENS, (row) => ({
        values: [cost(row)], title: `${day(row.day)}: ${costText(row)}`,
      }), amount)),
      el("div.beside", {}, ranked("model"), ranked("client")),
    ];
  }

  #times() {
    const timed = this.days.filter(times);
    const title = (row) => (times(row) ? `${day(row.day)}: ${within(times(row))}` : day(row.day));
    const ranked = (key) => this.#ranking("First token", key, (row) => times(row).p50,
      this.named[key].filter(times), TIMES, (row) => ({
        values: first(row), text: `${wait(times(row).p50)} · ${wait(times(row).p95)}`,
      }), TIME_HEAD, timeFigures);
    const found = classes(merged(this.days)).map(({from, to, count: n}) => ({
      label: seconds(to), values: [n], title: `Over ${wait(from)}, up to ${wait(to)}: ${plural(n, "stream")}`,
    }));
    return [
      el("h2", {}, "Time to the first token"),
      el("div.beside", {},
        card("First token per day", legend(TIMES), this.#overDays("First token per day", TIMES, (row) => ({
          values: first(row), title: title(row),
        }), axis), table("First token per day", ["Day", ...TIME_HEAD], timed.map((row) => [row.day, ...timeFigures(row)]))),
        card("Streams by their time", el("p.legend", {}, "up to so many seconds"),
          this.#drawing((width) => columns("Streams by their time", found, width, {labels: CLASS_WIDTH, whole: true})),
          table("Streams by their time", ["Time", "Streams"], found.map(({title: name, values}) => [name.split(":")[0], count(values[0])])))),
      el("div.beside", {}, ranked("model"), ranked("client")),
    ];
  }

  #outcomes() {
    const parts = kinds(this.days), columnsOf = reasons(this.days);
    const head = ["Streams", ...columnsOf.map(({name}) => name)];
    const figures = (row) => [count(row.streams), ...columnsOf.map(({of}) => count(of(row)))];
    const values = (row) => parts.map(({of}) => of(row));
    const title = (row) => {
      const said = parts.filter(({of}) => of(row)).map(({name, of}) => `${count(of(row))} ${name}`);
      return `${day(row.day)}: ${said.join(", ") || "no stream"}`;
    };
    const ranked = (key) => this.#ranking("Outcomes", key, streams, this.named[key], parts, (row) => ({
      values: values(row),
      text: plural(row.streams, "stream") + (failed(row) ? ` · ${percent(failed(row) / row.streams)} failed` : ""),
    }), head, figures);
    return [
      el("h2", {}, "Outcomes"),
      card("Outcomes per day", legend(parts), this.#overDays("Outcomes per day", parts, (row) => ({
        values: values(row), title: title(row),
      }), undefined, true), table("Outcomes per day", ["Day", ...head], this.days.map((row) => [row.day, ...figures(row)]))),
      el("div.beside", {}, ranked("model"), ranked("client")),
    ];
  }

  #drawing(drawn) {
    const place = el("div.drawing", {});
    this.#drawings.push({place, drawn});
    return place;
  }

  #overDays(name, series, column, format = brief, whole = false) {
    const rows = this.all.map((row) => ({label: day(row.day), ...column(row)}));
    const classNames = series.map((each) => each.series);
    return this.#drawing((width) => columns(name, rows, width, {format, series: classNames, whole}));
  }

  /** A card of bars beside the names of models or clients, the largest first. */
  #ranking(what, key, size, rows, series, bar, head, figures) {
    const name = (row) => (row[key] === PAGE_CLIENT ? "These pages" : row[key]);
    const sorted = [...rows].sort((a, b) => size(b) - size(a));
    const title = `${what} by ${key}`;
    const bars = sorted.slice(0, SHOWN).map((row) => ({label: name(row), ...bar(row)}));
    const classNames = series.length ? series.map((each) => each.series) : ["series-1"];
    return card(title, series.length ? legend(series) : null, ranking(bars, classNames),
      table(title, [NAMES[key], ...head], sorted.map((row) => [name(row), ...figures(row)])));
  }
}

// Days without a stream are no rows of the report, but are days of the chart.
function everyDay({from, to}, rows) {
  const found = new Map(rows.map((row) => [row.day, row]));
  const all = [];
  for (let time = Date.parse(from); time <= Date.parse(to); time += DAY_MS) {
    const name = new Date(time).toISOString().slice(0, 10);
    const none = {day: name, streams: 0, prompt_tokens: 0, completion_tokens: 0, cost: "0", finish_reasons: {}, first_token_ms: null};
    all.push(found.get(name) ?? none);
  }
  return all;
}

function card(title, ...content) { return el("section.card", {}, el("h3", {}, title), ...content); }
