// The usage page: what the streams of a tenant used, per day, model and client.

import {Tellstream} from "../client/tellstream.js";
import {columns, ranking, table} from "./charts.js";
import {byId, el} from "./elements.js";
import {HOME, SignInError} from "./session.js";
import {hideSignIn, signedIn} from "./sign-in.js";
import {brief, count, day, errorText} from "./words.js";

const DAY_MS = 86_400_000;
const SHOWN = 12; // rows of a ranking; all are in its table
const PAGE_CLIENT = "tellstream-page";
const HEAD = ["Streams", "Tokens read", "of them cached", "Tokens written", "of them thinking", "Estimated", "Cost"];

const iso = (time) => new Date(time).toISOString().slice(0, 10);
const money = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 4});
const known = (number) => (number === null ? "–" : count(number));
const tokens = (row) => row.prompt_tokens + row.completion_tokens;
const cost = (row) => Number(row.cost ?? 0);
const costText = (row) => (row.cost === null ? "–" : money.format(row.cost));
const total = (rows, value) => rows.reduce((sum, row) => sum + value(row), 0);
const figures = (row) => [
  count(row.streams), count(row.prompt_tokens), known(row.cache_read_input_tokens),
  count(row.completion_tokens), known(row.thought_tokens), count(row.estimated_streams), costText(row),
];

class UsagePage {
  #drawn = () => {};

  constructor(session) {
    this.session = session;
    this.form = byId("range");
    this.from = byId("from");
    this.to = byId("to");
    this.tenant = byId("tenant");
    this.tenant.append(...session.tenants.map((n) => el("option", {value: n}, `Tenant ${n}`)));
    byId("tenant-choice").hidden = session.tenants.length < 2;
    for (const button of this.form.querySelectorAll("[data-days]")) {
      button.addEventListener("click", () => this.#last(Number(button.dataset.days)));
    }
    this.form.addEventListener("submit", (event) => event.preventDefault());
    for (const field of [this.from, this.to, this.tenant]) {
      field.addEventListener("change", () => this.#load());
    }
    byId("sign-out").addEventListener("click", async () => {
      await session.end();
      location.assign(HOME);
    });
    new ResizeObserver(() => this.#drawn()).observe(byId("report"));
    this.#last(30);
  }

  #last(days) {
    this.to.value = iso(Date.now());
    this.from.value = iso(Date.now() - (days - 1) * DAY_MS);
    this.#load();
  }

  async #load() {
    const range = {from: this.from.value, to: this.to.value};
    for (const button of this.form.querySelectorAll("[data-days]")) {
      const days = (Date.parse(range.to) - Date.parse(range.from)) / DAY_MS + 1;
      const chosen = range.to === iso(Date.now()) && days === Number(button.dataset.days);
      button.setAttribute("aria-pressed", String(chosen));
    }
    const report = byId("report");
    report.setAttribute("aria-busy", "true");
    try {
      const token = (refused) => this.session.token(refused);
      const client = new Tellstream({url: HOME, tenant: this.tenant.value, token});
      const by = (name) => client.usage({...range, by: name});
      this.#show(range, ...await Promise.all(["day", "model", "client"].map(by)));
    } catch (error) {
      if (error instanceof SignInError) return location.reload();
      report.replaceChildren(el("p.problem", {role: "alert"}, errorText(error)));
    }
    report.setAttribute("aria-busy", "false");
  }

  #show(range, days, models, clients) {
    const report = byId("report");
    this.#drawn = () => {};
    if (!days.length) {
      report.replaceChildren(el("p.quiet.nothing", {}, "No stream finished in these days."));
      return;
    }
    const all = everyDay(range, days);
    const priced = days.some((row) => row.cost !== null);
    const spent = priced ? money.format(total(days, cost)) : "–";
    report.replaceChildren(
      tiles([
        ["Streams", count(total(days, (row) => row.streams))],
        ["Tokens read", brief(total(days, (row) => row.prompt_tokens))],
        ["Tokens written", brief(total(days, (row) => row.completion_tokens))],
        ["Cost", spent],
      ]),
      overDays("Tokens per day", ["read", "written"], table(["Day", ...HEAD], days.map((row) => [row.day, ...figures(row)]))),
      priced ? overDays("Cost per day", [], "") : "",
      el("div.beside", {},
        ranked("By model", "model", models, priced),
        ranked("By client", "client", clients, priced)));
    const [chart, money_] = report.querySelectorAll(".drawing");
    const draw = () => {
      const width = chart.clientWidth;
      if (!width) return;
      chart.replaceChildren(columns("Tokens per day", all.map(tokenColumn), width));
      money_?.replaceChildren(columns("Cost per day", all.map(costColumn), width, (n) => money.format(n)));
    };
    this.#drawn = draw;
    draw();
  }
}

const tokenColumn = (row) => ({
  label: day(row.day),
  values: [row.prompt_tokens, row.completion_tokens],
  title: `${day(row.day)}: ${count(row.prompt_tokens)} read, ${count(row.completion_tokens)} written`,
});
const costColumn = (row) => ({
  label: day(row.day),
  values: [cost(row)],
  title: `${day(row.day)}: ${costText(row)}`,
});

// Days without a stream are no rows of the report, but are days of the chart.
function everyDay({from, to}, rows) {
  const found = new Map(rows.map((row) => [row.day, row]));
  const all = [];
  for (let time = Date.parse(from); time <= Date.parse(to); time += DAY_MS) {
    const none = {day: iso(time), prompt_tokens: 0, completion_tokens: 0, cost: "0"};
    all.push(found.get(iso(time)) ?? none);
  }
  return all;
}

function tiles(pairs) {
  return el("dl.tiles", {}, pairs.map(([name, value]) =>
    el("div", {}, el("dt", {}, name), el("dd", {}, value))));
}

function card(title, ...content) { return el("section.card", {}, el("h2", {}, title), ...content); }

function overDays(title, series, below) {
  const legend = series.map((name, n) => el(`span.key.series-${n + 1}`, {}, name));
  return card(title, el("p.legend", {}, legend), el("div.drawing", {}), below);
}

function ranked(title, key, rows, priced) {
  const name = (row) => (row[key] === PAGE_CLIENT ? "These pages" : row[key]);
  const sorted = [...rows].sort((a, b) => tokens(b) - tokens(a));
  const shown = sorted.slice(0, SHOWN).map((row) => {
    const price = priced && row.cost !== null ? ` · ${costText(row)}` : "";
    return {label: name(row), value: tokens(row), text: `${brief(tokens(row))} tokens${price}`};
  });
  const head = [title.replace("By ", "").replace(/^./, (c) => c.toUpperCase()), ...HEAD];
  return card(title, ranking(shown), table(head, sorted.map((row) => [name(row), ...figures(row)])));
}

const session = await signedIn("usage");
hideSignIn();
new UsagePage(session);
