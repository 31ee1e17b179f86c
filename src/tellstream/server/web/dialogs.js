// Questions to the person, in the browser's own dialogs: focus goes in and comes back by itself.

import {el} from "./elements.js";

/** Asks for a text; gives it, or null. */
export function askText(title, label, value, action) {
  const input = el("input", {id: "dialog-text", value, maxlength: "120", autocomplete: "off", required: true});
  return ask(title, [el("label", {for: "dialog-text"}, label), input], action, "", () => input.value.trim());
}

/** Asks for a yes; gives whether it came. */
export function confirm(title, text, action) {
  return ask(title, [el("p", {}, text)], action, "danger", () => true).then(Boolean);
}

function ask(title, content, action, kind, value) {
  return new Promise((resolve) => {
    const no = el("button", {type: "button", onclick: () => dialog.close()}, "Cancel");
    const yes = el("button.primary", {type: "submit"}, action);
    if (kind) yes.classList.add(kind);
    const head = el("h2", {id: "dialog-title"}, title);
    const form = el("form", {}, head, content, el("div.choice", {}, no, yes));
    const dialog = el("dialog", {"aria-labelledby": "dialog-title"}, form);
    let answer = null;
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      answer = value() || null;
      dialog.close();
    });
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(answer);
    });
    document.body.append(dialog);
    dialog.showModal();
    dialog.querySelector("input")?.select();
  });
}
