// The conversations of one person, kept in this browser (IndexedDB), seen by all its tabs.
//
// A conversation is one record with all its turns, so what is stored of an answer and the position
// to go on from always belong together. Two tabs may read the same stream: of each answer the
// version that is further on is kept. What was deleted is not stored again by another tab.

import {newAnswer, spoken} from "./answer.js";

const TABLE = "conversations";
const TITLE_CHARS = 60;
const HISTORY_TURNS = 20; // messages that servers take, unless their tenant may send more
const HISTORY_CHARS = 120_000; // within the size of a request

/** A conversation without a turn. */
export function newConversation(tenant, model) {
  return {id: crypto.randomUUID(), title: "", tenant, model, updated: Date.now(), turns: []};
}

/** Adds a turn: a prompt, and an answer that has not begun. */
export function addTurn(conversation, prompt) {
  const turn = {
    prompt,
    history: historyOf(conversation),
    answer: newAnswer(crypto.randomUUID(), conversation.model),
  };
  conversation.turns.push(turn);
  conversation.title ||= titleOf(prompt);
  conversation.updated = Date.now();
  return turn;
}

function titleOf(prompt) {
  const line = prompt.trim().split("\n")[0].replace(/[#*_`>]+/g, "").trim() || "Conversation";
  return line.length > TITLE_CHARS ? `${line.slice(0, TITLE_CHARS - 1).trimEnd()}…` : line;
}

// What was said before, newest last, as far as a request may hold it.
function historyOf(conversation) {
  const said = conversation.turns.flatMap(({prompt, answer}) => {
    const content = spoken(answer);
    return content ? [{role: "user", content: prompt}, {role: "assistant", content}] : [];
  });
  const kept = [];
  let chars = 0;
  while (said.length >= 2 && kept.length < HISTORY_TURNS) {
    const pair = said.splice(-2);
    chars += pair[0].content.length + pair[1].content.length;
    if (chars > HISTORY_CHARS) break;
    kept.unshift(...pair);
  }
  return kept;
}

export class Conversations {
  #database;
  #channel;

  /** Opens those of one person; `onChange(id)` is called for what other tabs do. */
  static async open(subject, onChange) {
    const made = new Conversations();
    const name = `tellstream ${subject}`;
    const opening = indexedDB.open(name, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(TABLE, {keyPath: "id"});
    made.#database = await result(opening);
    made.#channel = new BroadcastChannel(name);
    made.#channel.onmessage = ({data}) => onChange(data);
    return made;
  }

  close() {
    this.#channel.close();
    this.#database.close();
  }

  /** All of them, the latest first. */
  async list() {
    const found = await result(this.#table("readonly").getAll());
    return found.sort((a, b) => b.updated - a.updated);
  }

  async get(id) { return await result(this.#table("readonly").get(id)) ?? null; }

  /** Stores a conversation; `isNew`: it may not be there yet. Gives what is stored, or null. */
  async put(conversation, isNew = false) {
    const table = this.#table("readwrite");
    const stored = await result(table.get(conversation.id));
    if (!stored && !isNew) return null;
    const merged = stored ? merge(stored, conversation) : conversation;
    await result(table.put(merged));
    this.#channel.postMessage(conversation.id);
    return merged;
  }

  async rename(id, title) {
    const table = this.#table("readwrite");
    const stored = await result(table.get(id));
    if (!stored) return;
    await result(table.put({...stored, title}));
    this.#channel.postMessage(id);
  }

  async remove(id) {
    await result(this.#table("readwrite").delete(id));
    this.#channel.postMessage(id);
  }

  #table(mode) { return this.#database.transaction(TABLE, mode).objectStore(TABLE); }
}

// Titles change by `rename` only, so the stored one is the right one.
function merge(stored, given) {
  const turns = [...given.turns];
  stored.turns.forEach((turn, n) => {
    const mine = turns[n];
    if (!mine || further(turn.answer, mine.answer)) turns[n] = turn;
  });
  return {...given, title: stored.title || given.title, turns};
}

const further = (a, b) =>
  a.key === b.key && (a.position > b.position || (a.finish !== null && b.finish === null));

function result(request) {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
