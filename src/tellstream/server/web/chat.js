// The chat page: puts the parts together. Streams are followed here, one runner each; what they say
// goes to the record of the conversation, to the page and, batched, to those who listen.

import {ConnectionFailedError, Tellstream} from "../client/tellstream.js";
import {fail, newAnswer, spoken, take} from "./answer.js";
import {AnswerView, emptyView, promptView} from "./answer-view.js";
import {Announcer} from "./announcer.js";
import {Composer} from "./composer.js";
import {ConversationList} from "./conversation-list.js";
import {addTurn, Conversations, newConversation} from "./conversations.js";
import {byId, el} from "./elements.js";
import {afterWork, Breath} from "./frames.js";
import {forget} from "./highlight.js";
import {Scrolling} from "./scrolling.js";
import {HOME, SignInError} from "./session.js";
import {hideSignIn, signedIn} from "./sign-in.js";
import {errorText} from "./words.js";

const POLICY = {giveUp: 3600, start: 30}; // a page that is open may wait for a network for an hour
const SAVE_MS = 1000; // of an answer may be read again from the server after a crash
const CHOSEN = "tellstream.chosen"; // the tenant and model of the next conversation
const NARROW = matchMedia("(max-width: 52rem)");

/** Follows one stream; `view` shows it while its conversation is open. */
class Runner {
  #controller = new AbortController();
  #stopping = false;
  #saving = null;
  view = null;

  constructor(page, conversation, turn) { Object.assign(this, {page, conversation, turn}); }

  async run() {
    const {answer} = this.turn;
    try {
      const stream = await this.#opened();
      if (this.#stopping) await this.#cancel();
      const breath = new Breath(); // many events may come at once
      for await (const event of stream) {
        this.#take(event);
        const wait = breath.taken();
        if (wait) await wait;
      }
      if (answer.finish === null) fail(answer, "not_found");
    } catch (error) {
      if (this.#controller.signal.aborted) return;
      if (error instanceof SignInError) return location.reload();
      fail(answer, error.code ?? "page_error", error.details ? errorText(error) : error.message);
      this.page.refused(this, error);
    } finally {
      this.page.runners.delete(answer.key);
    }
    await this.save();
    this.page.ended(this);
  }

  /** Ends the answer at the server. */
  stop() {
    this.#stopping = true;
    if (this.turn.answer.streamId) this.#cancel();
  }

  /** Leaves the stream, which goes on. */
  leave() { this.#controller.abort(); }

  async save() {
    clearTimeout(this.#saving);
    this.#saving = null;
    await this.page.conversations.put(this.conversation);
  }

  async #opened() {
    const {answer, prompt, history} = this.turn;
    const client = this.page.client(this.conversation.tenant);
    const options = {
      signal: this.#controller.signal,
      onConnection: (connection) => this.#connection(connection),
    };
    if (answer.streamId) return client.resume(answer.streamId, {after: answer.position, ...options});
    const fields = {history, model: answer.model};
    const stream = await client.start(prompt, {fields, idempotencyKey: answer.key, ...options});
    answer.streamId = stream.streamId;
    await this.save();
    return stream;
  }

  #take(event) {
    const part = take(this.turn.answer, event);
    if (part) this.view?.update(part);
    if (this.view && event.type === "text_delta") this.page.announcer.add(event.delta);
    this.#saving ??= setTimeout(() => this.save(), SAVE_MS);
  }

  #connection({connected}) {
    const text = navigator.onLine ? "Connection lost. Connecting again…" : "You are offline. The answer goes on when the network is back.";
    this.view?.settle(connected ? null : text);
  }

  async #cancel() {
    try {
      await this.page.client(this.conversation.tenant).cancel(this.turn.answer.streamId);
    } catch (error) {
      this.page.composer.complain(`It could not be stopped: ${errorText(error)}`);
    }
  }
}

class ChatPage {
  runners = new Map();
  conversation = null;
  #clients = new Map();
  #shownList = "";
  #models = [];

  constructor(session) {
    this.session = session;
    this.turns = byId("turns");
    this.announcer = new Announcer(byId("announcer"));
    this.scrolling = new Scrolling(byId("scroll"), byId("to-end"));
    this.composer = new Composer(byId("composer"), {
      send: (text) => this.#send(text),
      stop: () => this.#running()?.stop(),
    });
    this.list = new ConversationList(byId("conversations"), {
      open: (id) => this.#go(id),
      rename: (id, title) => this.#rename(id, title),
      remove: (id) => this.#remove(id),
    });
    this.tenant = byId("tenant");
    this.model = byId("model");
  }

  async start() {
    this.conversations = await Conversations.open(this.session.subject, (id) => this.#changed(id));
    this.tenant.append(...this.session.tenants.map((n) => el("option", {value: n}, `Tenant ${n}`)));
    byId("tenant-choice").hidden = this.session.tenants.length < 2;
    byId("usage").hidden = !this.session.scopes.has("usage");
    this.tenant.addEventListener("change", () => this.#chooseTenant());
    this.model.addEventListener("change", () => this.#chooseModel());
    byId("new").addEventListener("click", () => this.#go(""));
    byId("sign-out").addEventListener("click", () => this.#signOut());
    byId("menu").addEventListener("click", () => this.#drawer(true));
    byId("menu-close").addEventListener("click", () => this.#drawer(false));
    byId("shade").addEventListener("click", () => this.#drawer(false));
    NARROW.addEventListener("change", () => this.#drawer(false));
    this.#drawer(false);
    addEventListener("keydown", (event) => { if (event.key === "Escape") this.#drawer(false); });
    addEventListener("hashchange", () => this.#open());
    byId("skip").addEventListener("click", (event) => {
      event.preventDefault(); // the part behind # names the conversation
      this.composer.input.focus();
    });
    addEventListener("pagehide", () => this.#saveAll());
    document.addEventListener("visibilitychange", () => { if (document.hidden) this.#saveAll(); });
    afterWork(() => this.scrolling.grown());
    await this.#loadModels();
    await this.#open();
  }

  client(tenant) {
    if (!this.#clients.has(tenant)) {
      const token = (refused) => this.session.token(refused);
      this.#clients.set(tenant, new Tellstream({url: HOME, tenant, token, policy: POLICY}));
    }
    return this.#clients.get(tenant);
  }

  /** The server did not take a request. */
  refused({conversation, turn}, error) {
    if (error.code !== "validation_error" || conversation !== this.conversation) return;
    conversation.turns.pop(); // it was never said: back to where it can be changed
    this.composer.text = turn.prompt;
    this.composer.complain(errorText(error));
    this.#show();
  }

  /** An answer is over. */
  ended({conversation, turn: {answer}, view}) {
    view?.settle();
    this.#list();
    if (conversation !== this.conversation) return;
    this.composer.running = Boolean(this.#running());
    this.announcer.say(answer.error ? errorText(answer.error) : "End of the answer.");
  }

  // --- conversations -----------------------------------------------------------------------------

  #go(id) {
    this.#drawer(false);
    if (location.hash.slice(1) === id) this.#open();
    else location.hash = id;
  }

  async #open() {
    const id = location.hash.slice(1);
    const running = [...this.runners.values()].find((runner) => runner.conversation.id === id);
    const found = running?.conversation ?? (id ? await this.conversations.get(id) : null);
    const allowed = found && this.session.tenants.includes(found.tenant) ? found : null;
    if (id && !allowed) history.replaceState(null, "", location.pathname);
    this.conversation = allowed ?? newConversation(Number(this.tenant.value), this.model.value);
    if (String(this.conversation.tenant) !== this.tenant.value) {
      this.tenant.value = this.conversation.tenant;
      await this.#loadModels();
    }
    if (this.#models.some((model) => model.id === this.conversation.model)) {
      this.model.value = this.conversation.model;
    }
    this.#show();
    if (!NARROW.matches) this.composer.input.focus();
  }

  #show() {
    const {conversation} = this;
    for (const runner of this.runners.values()) runner.view = null;
    const views = conversation.turns.flatMap((turn) => this.#turnViews(turn));
    this.turns.replaceChildren(...views);
    forget();
    if (!views.length) this.turns.append(emptyView((idea) => { this.composer.text = idea; }));
    this.composer.running = Boolean(this.#running());
    this.#list();
    this.scrolling.toEnd();
  }

  #turnViews(turn) {
    const view = new AnswerView(turn.answer, () => this.#again(turn));
    if (turn.answer.finish === null) this.#follow(turn, view);
    return [promptView(turn.prompt), view.element];
  }

  #follow(turn, view) {
    const known = this.runners.get(turn.answer.key);
    const runner = known ?? new Runner(this, this.conversation, turn);
    runner.view = view;
    if (known) return;
    this.runners.set(turn.answer.key, runner);
    runner.run();
  }

  #running() {
    const last = this.conversation?.turns.at(-1);
    return last && this.runners.get(last.answer.key);
  }

  async #send(text) {
    const {conversation} = this;
    if (!this.session.tenants.length) return;
    const isNew = !conversation.turns.length;
    conversation.model = this.model.value;
    const turn = addTurn(conversation, text);
    await this.conversations.put(conversation, isNew);
    if (isNew) history.replaceState(null, "", `#${conversation.id}`);
    this.turns.querySelector(".empty")?.remove();
    this.turns.append(...this.#turnViews(turn));
    this.composer.running = true;
    this.#list();
    this.scrolling.toEnd();
  }

  async #again(turn) {
    turn.answer = newAnswer(crypto.randomUUID(), this.model.value);
    await this.conversations.put(this.conversation);
    this.#show();
    this.composer.input.focus();
  }

  async #rename(id, title) {
    await this.conversations.rename(id, title);
    if (this.conversation.id === id) this.conversation.title = title;
    this.#list();
  }

  async #remove(id) {
    for (const runner of this.runners.values()) {
      if (runner.conversation.id === id) runner.leave();
    }
    await this.conversations.remove(id);
    if (this.conversation.id === id) this.#go("");
    this.#list();
    byId("new").focus();
  }

  async #list() {
    const all = await this.conversations.list();
    const mine = all.filter((each) => this.session.tenants.includes(each.tenant));
    const {id} = this.conversation;
    const title = mine.find((each) => each.id === id)?.title ?? "New chat";
    byId("title").textContent = title;
    document.title = `${title} · Tellstream`;
    const shown = JSON.stringify([id, mine.map((each) => [each.id, each.title])]);
    if (shown === this.#shownList) return;
    this.#shownList = shown;
    this.list.show(mine, id);
  }

  // Another tab did something.
  async #changed(id) {
    this.#list();
    if (id !== this.conversation?.id || this.#running()) return;
    const stored = await this.conversations.get(id);
    if (!stored) return this.#go("");
    const last = stored.turns.at(-1)?.answer;
    if (last && last.finish === null && !last.streamId) return; // its tab will say more
    const state = ({turns}) => JSON.stringify(turns.map(({answer}) => [answer.key, answer.finish]));
    if (state(stored) !== state(this.conversation)) this.#open();
  }

  #saveAll() { for (const runner of this.runners.values()) runner.save(); }

  // --- choices -----------------------------------------------------------------------------------

  async #loadModels() {
    const chosen = JSON.parse(localStorage.getItem(CHOSEN) ?? "{}");
    if (!this.conversation && this.session.tenants.includes(chosen.tenant)) {
      this.tenant.value = chosen.tenant;
    }
    try {
      this.#models = await this.client(Number(this.tenant.value)).models();
    } catch (error) {
      if (error instanceof SignInError) return location.reload();
      this.#models = [];
      const lost = error instanceof ConnectionFailedError;
      this.composer.complain(lost ? "The server cannot be reached." : errorText(error));
      addEventListener("online", () => this.#loadModels(), {once: true});
    }
    this.model.replaceChildren(...this.#models.map(({id}) => el("option", {value: id}, id)));
    const names = this.#models.map(({id}) => id);
    const first = this.#models.find((model) => model.default)?.id ?? names[0];
    if (names.length) this.model.value = names.includes(chosen.model) ? chosen.model : first;
  }

  async #chooseTenant() {
    await this.#loadModels();
    this.#remember();
    if (this.conversation.turns.length) this.#go(""); // each belongs to one tenant
    else this.conversation.tenant = Number(this.tenant.value);
  }

  #chooseModel() { this.#remember(); }

  #remember() {
    const chosen = {tenant: Number(this.tenant.value), model: this.model.value};
    localStorage.setItem(CHOSEN, JSON.stringify(chosen));
  }

  async #signOut() {
    this.#saveAll();
    for (const runner of this.runners.values()) runner.leave();
    await this.session.end();
    location.assign(HOME);
  }

  #drawer(open) {
    const was = document.body.classList.contains("drawer");
    document.body.classList.toggle("drawer", open);
    byId("menu").setAttribute("aria-expanded", String(open));
    byId("sidebar").inert = NARROW.matches && !open;
    byId("stage").inert = open;
    byId("shade").hidden = !open;
    if (open) byId("menu-close").focus();
    else if (was) byId("menu").focus();
  }
}

const page = new ChatPage(await signedIn());
hideSignIn();
await page.start();
