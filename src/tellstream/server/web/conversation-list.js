// The list of conversations: open, rename, delete.

import {askText, confirm} from "./dialogs.js";
import {el, icon} from "./elements.js";
import {ago} from "./words.js";

export class ConversationList {
  /** `open(id)`, `rename(id, title)` and `remove(id)` are called when the person wants it. */
  constructor(container, actions) { Object.assign(this, {container, actions}); }

  /** Shows the conversations, of which `current` is open. */
  show(conversations, current) {
    const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
    const groups = new Map();
    for (const each of conversations) {
      const when = ago(each.updated);
      if (!groups.has(when)) groups.set(when, []);
      groups.get(when).push(each);
    }
    this.container.replaceChildren(...[...groups].map(([when, some]) =>
      el("section", {}, el("h3", {}, when), el("ul", {}, some.map((each) => this.#row(each, current))))));
    if (!conversations.length) {
      this.container.append(el("p.quiet", {}, "Your conversations appear here. They stay in this browser."));
    }
    if (focused) this.container.querySelector(`[data-key="${CSS.escape(focused)}"]`)?.focus();
  }

  #row({id, title}, current) {
    const open = el("button.open", {
      "type": "button",
      "data-key": id,
      "aria-current": id === current ? "page" : null,
      "onclick": () => this.actions.open(id),
    }, title);
    const rename = this.#button("edit", `Rename ${title}`, async () => {
      const text = await askText("Rename", "Name of the conversation", title, "Rename");
      if (text) this.actions.rename(id, text);
    });
    const remove = this.#button("trash", `Delete ${title}`, async () => {
      const text = `“${title}” is deleted from this browser. It cannot be had again.`;
      if (await confirm("Delete the conversation?", text, "Delete")) this.actions.remove(id);
    });
    return el("li", {}, open, el("span.tools", {}, rename, remove));
  }

  #button(name, label, onclick) {
    return el("button.icon-button", {type: "button", "aria-label": label, title: label, onclick}, icon(name));
  }
}
