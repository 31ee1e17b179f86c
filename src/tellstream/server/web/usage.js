// The usage page: what the streams of a tenant used, how they ended and how fast they began.

import {Tellstream} from "../client/tellstream.js";
import {byId, el} from "./elements.js";
import {HOME, SignInError} from "./session.js";
import {hideSignIn, signedIn} from "./sign-in.js";
import {Report} from "./usage-report.js";
import {errorText} from "./words.js";

const DAY_MS = 86_400_000;

const iso = (time) => new Date(time).toISOString().slice(0, 10);

class UsagePage {
  #report = null;
  #turn = 0; // of what was asked for last: an earlier answer that comes later is not shown

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
    new ResizeObserver(() => this.#report?.draw()).observe(byId("report"));
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
    const place = byId("report");
    place.setAttribute("aria-busy", "true");
    const turn = ++this.#turn;
    try {
      const token = (refused) => this.session.token(refused);
      const client = new Tellstream({url: HOME, tenant: this.tenant.value, token});
      const by = (name) => client.usage({...range, by: name});
      const rows = await Promise.all(["day", "model", "client"].map(by));
      if (turn === this.#turn) this.#show(range, ...rows);
    } catch (error) {
      if (error instanceof SignInError) return location.reload();
      if (turn !== this.#turn) return;
      this.#report = null;
      place.replaceChildren(el("p.problem", {role: "alert"}, errorText(error)));
    }
    if (turn === this.#turn) place.setAttribute("aria-busy", "false");
  }

  #show(range, days, models, clients) {
    this.#report = null;
    if (!days.length) {
      byId("report").replaceChildren(el("p.quiet.nothing", {}, "No stream finished in these days."));
      return;
    }
    const report = new Report(range, days, models, clients);
    byId("report").replaceChildren(...report.elements.filter(Boolean));
    this.#report = report;
    report.draw();
  }
}

const session = await signedIn("usage");
hideSignIn();
new UsagePage(session);
