// What is shown to whoever is not signed in.

import {byId, el} from "./elements.js";
import {Session} from "./session.js";

/**
 * Gives the session of this tab; until there is one, shows how to sign in.
 *
 * `page` is where to come back to, relative to the server.
 */
export async function signedIn(page = "") {
  for (;;) {
    try {
      const session = await Session.find();
      if (session) return session;
      const offered = await Session.isOffered();
      return await asked(page, offered, "");
    } catch (error) {
      if (!(error instanceof TypeError)) return asked(page, true, error.message);
      await again(); // the server cannot be reached
    }
  }
}

function show(...content) {
  byId("sign-in-content").replaceChildren(...content);
  byId("sign-in").hidden = false;
  byId("app").hidden = true;
}

/** Shows the page itself. */
export function hideSignIn() {
  byId("sign-in").hidden = true;
  byId("app").hidden = false;
}

function again() {
  return new Promise((resolve) => {
    const button = el("button.primary", {type: "button", onclick: resolve}, "Try again");
    show(el("h1", {}, "No connection"), el("p.lead", {}, "The server cannot be reached just now."), button);
    addEventListener("online", resolve, {once: true});
  });
}

function asked(page, offered, problem) {
  return new Promise((resolve) => {
    const button = el("button.primary", {type: "button", onclick: () => Session.begin(page)}, "Sign in");
    const lead = offered
      ? "Every answer is one stream: it goes on through reloads, lost networks and restarts."
      : "This server has no sign-in of its own. Use an access token of your identity provider.";
    show(
      el("h1", {}, "Welcome"),
      el("p.lead", {}, lead),
      problem ? el("p.problem", {role: "alert"}, problem) : "",
      offered ? button : "",
      el("details", {open: !offered}, el("summary", {}, "Use an access token"), tokenForm(resolve)),
    );
    (offered ? button : byId("token")).focus();
  });
}

function tokenForm(resolve) {
  const token = el("input", {id: "token", type: "password", autocomplete: "off", spellcheck: "false", required: true});
  const tenant = el("input", {id: "token-tenant", inputmode: "numeric", pattern: "[1-9][0-9]*", value: "1", required: true});
  const form = el("form", {},
    el("label", {for: "token"}, "Access token"), token,
    el("label", {for: "token-tenant"}, "Tenant"), tenant,
    el("button", {type: "submit"}, "Continue"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    resolve(Session.withToken(token.value.trim(), Number(tenant.value)));
  });
  return form;
}
