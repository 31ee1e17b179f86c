// Who is signed in, in this tab: code + PKCE with the authorization server of this server.
//
// The access token is in memory only. The refresh token is in sessionStorage: it survives a reload,
// which an answer that is being read must survive, and dies with the tab. It is good once, so two
// tabs must not share one: a tab that was duplicated finds its lock taken and signs in anew.

const CLIENT_ID = "tellstream-page";
const SCOPE = "chat usage";
const KEPT = "tellstream.session"; // {refresh} or {access, tenants}, and the tab's name
const PENDING = "tellstream.sign-in";
const TRIES = 5, TRY_MS = 100; // for the page that was here before a reload to be gone
const EARLY_MS = 60_000; // a token is renewed so long before it expires

/** Where this server is, whatever path it is under. */
export const HOME = new URL("..", import.meta.url).href;
const at = (path) => new URL(path, HOME).href;

/** The sign-in did not work; the message is for people. */
export class SignInError extends Error {}

export class Session {
  #access = "";
  #refresh = "";
  #expiresAt = 0;
  #renewing = null;

  constructor() {
    this.subject = "";
    this.tenants = [];
    this.scopes = new Set();
  }

  /**
   * The session of this tab: brought along in the address, or kept; null: nobody is signed in.
   *
   * Throws SignInError, and TypeError if the server cannot be reached.
   */
  static async find() {
    const session = new Session();
    const kept = await keptHere();
    const query = new URLSearchParams(location.search);
    if (query.has("code") || query.has("error")) {
      history.replaceState(null, "", location.pathname);
      return await session.#arrive(query) ? session : null;
    }
    if (kept?.access) return session.#given(kept.access, kept.tenants);
    if (!kept?.refresh) return null;
    session.#refresh = kept.refresh;
    return await session.#renew() ? session : null;
  }

  /** A session with a token that was got elsewhere. */
  static withToken(token, tenant) {
    const session = new Session().#given(token, [tenant]);
    keep({access: token, tenants: session.tenants});
    return session;
  }

  /** Whether this server signs people in itself. */
  static async isOffered() {
    const answer = await fetch(at(".well-known/oauth-authorization-server"), {credentials: "omit"});
    if (answer.status === 404) return false;
    const {issuer} = await answer.json();
    // Another name of the same server: the code could not come back to this address.
    if (`${issuer}/` !== HOME) location.replace(`${issuer}/`);
    return true;
  }

  /** Goes to the sign-in page, and from there to `page` of this server. */
  static async begin(page = "") {
    const verifier = random(), state = random();
    sessionStorage.setItem(PENDING, JSON.stringify({verifier, state, page}));
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier));
    const query = new URLSearchParams({
      response_type: "code",
      client_id: CLIENT_ID,
      redirect_uri: HOME,
      scope: SCOPE,
      state,
      code_challenge: base64url(new Uint8Array(digest)),
      code_challenge_method: "S256",
    });
    location.assign(`${at("oauth/authorize")}?${query}`);
  }

  /** A token that was not refused; "" if nobody is signed in any more. */
  async token(refused) {
    const usable = this.#access && this.#access !== refused;
    if (usable && (!this.#refresh || Date.now() < this.#expiresAt - EARLY_MS)) return this.#access;
    if (!this.#refresh) throw new SignInError("Your session has ended. Sign in again.");
    this.#renewing ??= this.#renew().finally(() => { this.#renewing = null; });
    if (await this.#renewing) return this.#access;
    throw new SignInError("Your session has ended. Sign in again.");
  }

  /** Ends the login, here and at the server. */
  async end() {
    const refresh = this.#refresh;
    this.#access = this.#refresh = "";
    sessionStorage.removeItem(KEPT);
    if (!refresh) return;
    const body = new URLSearchParams({client_id: CLIENT_ID, token: refresh});
    const revoked = fetch(at("oauth/revoke"), {method: "POST", body, credentials: "omit"});
    const loggedOut = fetch(at("oauth/logout"), {method: "POST", credentials: "same-origin"});
    await Promise.allSettled([revoked, loggedOut]); // offline: the tab has forgotten it all the same
  }

  async #arrive(query) {
    const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "null");
    sessionStorage.removeItem(PENDING);
    // Not what this tab asked for: somebody else's code, or an old address.
    if (!pending || pending.state !== query.get("state")) return false;
    if (query.get("error") === "access_denied") return false;
    if (query.has("error")) throw new SignInError(query.get("error_description") ?? "");
    const answered = await this.#ask({
      grant_type: "authorization_code",
      code: query.get("code"),
      redirect_uri: HOME,
      code_verifier: pending.verifier,
    });
    if (answered && pending.page) location.replace(at(pending.page));
    return answered;
  }

  #renew() { return this.#ask({grant_type: "refresh_token", refresh_token: this.#refresh}); }

  async #ask(fields) {
    const body = new URLSearchParams({client_id: CLIENT_ID, ...fields});
    const options = {method: "POST", body, credentials: "omit", cache: "no-store"};
    const answer = await fetch(at("oauth/token"), options);
    if (answer.status >= 500) throw new TypeError("The server cannot sign you in now.");
    if (!answer.ok) {
      sessionStorage.removeItem(KEPT);
      return false;
    }
    const said = await answer.json();
    this.#refresh = said.refresh_token;
    this.#expiresAt = Date.now() + said.expires_in * 1000;
    keep({refresh: this.#refresh});
    this.#given(said.access_token, []);
    return true;
  }

  #given(token, tenants) {
    const claims = claimsOf(token);
    this.#access = token;
    this.subject = claims.sub ?? "token";
    this.tenants = claims.tenants ?? tenants;
    this.scopes = new Set((claims.scope ?? SCOPE).split(" "));
    return this;
  }
}

// --- what the tab keeps --------------------------------------------------------------------------

const keep = (kept) => sessionStorage.setItem(KEPT, JSON.stringify({...kept, tab: tab()}));

function tab() {
  const name = "tellstream.tab";
  if (!sessionStorage.getItem(name)) sessionStorage.setItem(name, random());
  return sessionStorage.getItem(name);
}

// What was kept, unless another tab has the same: this one is then its copy.
async function keptHere() {
  let mine = await locked(tab());
  for (let tries = 0; !mine && tries < TRIES; tries += 1) { // a page that is being left has it still
    await new Promise((resolve) => setTimeout(resolve, TRY_MS));
    mine = await locked(tab());
  }
  if (!mine) {
    for (const key of [KEPT, "tellstream.tab"]) sessionStorage.removeItem(key);
    await locked(tab());
  }
  return JSON.parse(sessionStorage.getItem(KEPT) ?? "null");
}

const locked = (name) => new Promise((resolve) => {
  navigator.locks.request(`tellstream.tab.${name}`, {ifAvailable: true}, (lock) => {
    resolve(lock !== null);
    return lock && new Promise(() => {}); // held for as long as the page lives
  });
});

// --- small things --------------------------------------------------------------------------------

const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));

function base64url(bytes) {
  return btoa(String.fromCharCode(...bytes))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}

// What a token says, unverified: only for showing. A token that is no JWT says nothing.
function claimsOf(token) {
  try {
    const part = token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/");
    return JSON.parse(atob(part));
  } catch {
    return {};
  }
}
