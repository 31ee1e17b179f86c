// Tellstream for JavaScript: starts streams, follows them through any number of connections, stops
// them. One module without dependencies, for browsers and for Node 20 and newer.
//
//   const client = new Tellstream({url: "https://chat.example", tenant: 1, token: getToken});
//   const stream = await client.start("Hello");
//   for await (const event of stream) if (event.type === "text_delta") show(event.delta);
//
// The rules are those of the Python client. Until an answer came, the same POST with the same
// idempotency key is sent again. After that the stream is followed by its id, from the last event
// that arrived. A connection that ends without stream_end was lost, however it ended. An overloaded
// or failing server is asked again within the budget; any other refusal is final.

/** When to try again, and when to stop trying: seconds. */
export const POLICY = Object.freeze({
  giveUp: 60, // of trying to get back to a stream without any progress
  start: 10, // of trying to reach the server for the first answer of a call
  base: 0.25, // the first wait is random between 0 and this, doubled after each failure
  cap: 8, // the doubling ends here
  silence: 45, // without a byte a connection is lost: three keep-alive intervals
  stable: 15, // a connection that lived so long was a success, even without events
});
const MAX_FRAME_CHARS = 4 * 1024 * 1024; // of one event; a server ends a whole stream at that size
const MAX_POSITION = 999_999_999; // a sequence number; a server ends streams long before
const TRANSIENT = new Set([408, 429, 500, 502, 503, 504]);
const STREAM_ID = /^[A-Za-z0-9_-]{1,128}$/;
const EVENT_TYPES = new Set([
  "stream_start", "step_start", "text_start", "text_delta", "text_complete", "thinking_start",
  "thinking_delta", "thinking_complete", "tool_call_delta", "tool_call", "tool_result", "artifact",
  "provider_tool_event", "citation", "error", "step_finish", "stream_end",
]);

// --- errors --------------------------------------------------------------------------------------

/** Whatever goes wrong: `status` (0: no answer), `code` for programs, `message` for people. */
export class TellstreamError extends Error {
  constructor(status, code, message, more = {}) {
    super(message);
    Object.assign(this, {name: new.target.name, status, code}, more);
  }
}
/** The server refused: `details` says which field is wrong, `retryAfter` when to try again. */
export class AnswerError extends TellstreamError {}
/** No answer came at all; the same call with the same `idempotencyKey` may be made again. */
export class ConnectionFailedError extends TellstreamError {}
/** A known stream could not be reached again in time; `resume(streamId, {after: position})`. */
export class ConnectionLostError extends TellstreamError {}
/** The answer is not what a Tellstream server sends; trying again would not help. */
export class ProtocolError extends TellstreamError {
  constructor(message) { super(200, "unexpected_answer", message); }
}
class Broken extends Error {} // the network failed

// --- decisions -----------------------------------------------------------------------------------

/** Decodes server-sent events (WHATWG HTML, section 9.2.6), cut anywhere. */
export class EventDecoder {
  #utf8 = new TextDecoder(); // drops one leading byte order mark, keeps halves of characters
  #rest = "";
  #afterCr = false;
  #data = [];
  #size = 0;
  #event = "";
  #id = "";
  /** The last reconnection time that the server asked for, in milliseconds, or null. */
  retry = null;

  /** Takes the next bytes; gives the events that became complete: `{event, data, id}`. */
  *feed(bytes) {
    let text = this.#utf8.decode(bytes, {stream: true});
    if (!text) return;
    if (this.#afterCr && text[0] === "\n") text = text.slice(1);
    this.#afterCr = text.endsWith("\r");
    const lines = text.replace(/\r\n?/g, "\n").split("\n");
    lines[0] = this.#rest + lines[0];
    this.#rest = lines.pop();
    for (const line of lines) {
      if (line) this.#field(line);
      else yield* this.#dispatch();
    }
    this.#check(this.#rest.length);
  }

  #field(line) {
    const colon = line.indexOf(":");
    if (colon === 0) return; // a comment
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(line[colon + 1] === " " ? colon + 2 : colon + 1);
    if (name === "data") {
      this.#check(this.#size += value.length + 1);
      this.#data.push(value);
    } else if (name === "event") this.#event = value;
    else if (name === "id" && !value.includes("\0")) this.#id = value;
    else if (name === "retry" && /^[0-9]{1,10}$/.test(value)) this.retry = Number(value);
  }

  *#dispatch() {
    if (this.#data.length) {
      yield {event: this.#event || "message", data: this.#data.join("\n"), id: this.#id};
    }
    this.#event = "";
    this.#data = [];
    this.#size = 0;
  }

  #check(size) {
    if (size > MAX_FRAME_CHARS) throw new ProtocolError("one event exceeds the size cap");
  }
}

/** The waits of one outage after the other: exponential, full jitter, within a budget. */
export class Backoff {
  #failures = 0;
  #since = null;

  constructor(policy, budget) { Object.assign(this, {policy, budget}); }

  /** Ends the outage: the next failure begins a new one. */
  progress() {
    this.#failures = 0;
    this.#since = null;
  }

  /** Seconds to wait before the next try, at least what the server asked for; null: give up. */
  wait(now, chance, atLeast = 0) {
    this.#since ??= now;
    const left = this.#since + this.budget - now;
    if (left <= 0 || atLeast > left) return null;
    const most = Math.min(this.policy.cap, this.policy.base * 2 ** Math.min(this.#failures++, 30));
    return Math.max(atLeast, Math.min(left, chance * most));
  }
}

// --- one stream ----------------------------------------------------------------------------------

/** A stream being read: iterate over its events, once. Made by `start` and `resume`. */
export class ChatStream {
  #client;
  #start; // the request that starts it, or null
  #options;
  #backoff;
  #decoder;
  #reader = null;
  #connection = null; // ends the connection
  #stopped = new AbortController(); // ends everything
  #received; // sequence number of the last event that was decoded
  #retry = 0; // the server's wish for waits, seconds
  #over = false;
  #openedAt = 0;
  #heardAt = 0;

  constructor(client, start, streamId, after, options) {
    /** The server's id of the stream; empty before the first answer. */
    this.streamId = streamId;
    /** Sequence number of the last event that was handed out. */
    this.position = after;
    /** Of the request that starts the stream, or null. */
    this.idempotencyKey = start?.headers["Idempotency-Key"] ?? null;
    this.after = after;
    this.#received = after;
    this.#client = client;
    this.#start = start;
    this.#options = options;
    this.#backoff = new Backoff(client.policy, start ? client.policy.start : client.policy.giveUp);
  }

  /** Leaves the stream; it goes on at the server. */
  close() { this.#stopped.abort(); }

  /** Ends the stream at the server. The iteration goes on to its `stream_end`. */
  cancel() { return this.#client.cancel(this.streamId); }

  /** Gets the first answer. */
  async open() {
    const {signal} = this.#options;
    signal?.throwIfAborted();
    signal?.addEventListener("abort", () => this.#stopped.abort(signal.reason), {
      once: true,
      signal: this.#stopped.signal,
    });
    await this.#connect();
    return this;
  }

  async *[Symbol.asyncIterator]() {
    try {
      while (!this.#over) {
        if (!this.#reader) await this.#connect();
        else {
          const bytes = await this.#read();
          if (bytes) yield* this.#events(bytes);
        }
      }
    } finally {
      this.close();
      this.#connection?.abort();
    }
  }

  *#events(bytes) {
    for (const {event: type, data, id} of this.#decoder.feed(bytes)) {
      if (this.#decoder.retry !== null) this.#retry = this.#decoder.retry / 1000;
      if (!/^[0-9]{1,9}$/.test(id)) throw new ProtocolError("an event has no sequence number");
      const number = Number(id);
      if (number <= this.#received) continue; // known already
      if (number > this.#received + 1 && !this.#options.snapshot) {
        throw new ProtocolError(`event ${number} came after event ${this.#received}`);
      }
      this.#received = number;
      this.#backoff.progress();
      this.#over = type === "stream_end";
      this.position = number;
      if (EVENT_TYPES.has(type)) yield {...parsed(data, id), type, position: number};
      if (this.#over) return;
    }
    if (this.#decoder.retry !== null) this.#retry = this.#decoder.retry / 1000;
  }

  async #read() {
    const {silence, stable} = this.#client.policy;
    const timer = setTimeout(() => this.#connection.abort(), silence * 1000);
    let cause = new Broken("the answer ended before its end");
    try {
      const {value, done} = await this.#reader.read();
      if (!done) {
        this.#heardAt = now();
        return value;
      }
    } catch (error) {
      this.#stopped.signal.throwIfAborted();
      cause = error;
    } finally {
      clearTimeout(timer);
    }
    this.#reader = null;
    if (this.#heardAt - this.#openedAt >= stable) this.#backoff.progress();
    await this.#pause(cause);
    return null;
  }

  async #connect() {
    while (!this.#reader && !this.#over) {
      this.#connection = new AbortController();
      let cause;
      try {
        const signal = AbortSignal.any([this.#stopped.signal, this.#connection.signal]);
        const response = await this.#client.send(this.#request(), signal);
        cause = await this.#judge(response);
        if (!cause) return;
      } catch (error) {
        this.#stopped.signal.throwIfAborted();
        if (!(error instanceof Broken)) throw error;
        cause = error;
      }
      await this.#pause(cause);
    }
  }

  #request() {
    if (this.#start) return this.#start;
    const headers = {Accept: "text/event-stream"};
    if (this.#received) headers["Last-Event-ID"] = String(this.#received);
    const query = this.#options.snapshot ? "?snapshot=1" : "";
    return {method: "GET", path: `/v1/streams/${this.streamId}/events${query}`, headers};
  }

  // Decides on an answer; gives the error after which to try again, if any.
  async #judge(response) {
    if (response.status === 200) {
      this.#begin(response);
      return null;
    }
    if (response.status === 204 && !this.#start) {
      if (this.#received > this.after) throw new ProtocolError("the stream has no stream_end");
      this.#over = true; // the caller had everything already
      return null;
    }
    const error = await refusal(response);
    if (!this.#start && TRANSIENT.has(response.status)) return error;
    throw error;
  }

  #begin(response) {
    const type = (response.headers.get("content-type") ?? "").split(";")[0].trim().toLowerCase();
    if (type !== "text/event-stream") throw new ProtocolError(`not an event stream: ${type}`);
    const named = response.headers.get("x-stream-id") ?? "";
    if (this.#start) {
      if (named) this.streamId = checkedId(named);
      this.#start = null;
      this.#backoff = new Backoff(this.#client.policy, this.#client.policy.giveUp);
    } else if (named && named !== this.streamId) {
      throw new ProtocolError("the server answers with another stream");
    }
    this.#reader = response.body.getReader();
    this.#decoder = new EventDecoder(); // half a frame of the one before is forgotten
    this.#openedAt = this.#heardAt = now();
    this.#options.onConnection?.({connected: true});
  }

  async #pause(cause) {
    const atLeast = Math.max(cause.retryAfter ?? 0, this.#retry);
    const seconds = this.#backoff.wait(now(), Math.random(), atLeast);
    const reason = String(cause.message ?? cause);
    if (seconds === null && this.#start) {
      const {idempotencyKey} = this;
      throw new ConnectionFailedError(0, "connection_failed", reason, {idempotencyKey, cause});
    }
    if (seconds === null || (!this.#start && !this.streamId)) {
      const {streamId, position} = this;
      throw new ConnectionLostError(0, "connection_lost", reason, {streamId, position, cause});
    }
    this.#options.onConnection?.({connected: false, seconds, reason});
    await sleep(seconds, this.#stopped.signal);
  }
}

// --- the client ----------------------------------------------------------------------------------

/** Speaks to one server for one tenant. */
export class Tellstream {
  #token = null;
  #newToken = null;

  /** `token`: an access token, or a function that gives one; it gets the one that was refused. */
  constructor({url = "", tenant, token, policy = {}, fetch = globalThis.fetch}) {
    this.url = String(url).replace(/\/+$/, "");
    this.tenant = String(tenant);
    this.policy = {...POLICY, ...policy};
    this.fetch = fetch.bind(globalThis);
    if (typeof token === "function") this.#newToken = token;
    else this.#token = token;
  }

  /** Starts a stream: `fields` are those of the request body beside the prompt. */
  start(prompt, {fields = {}, idempotencyKey = crypto.randomUUID(), ...options} = {}) {
    const headers = {
      "Accept": "text/event-stream",
      "Content-Type": "application/json",
      "Idempotency-Key": idempotencyKey,
    };
    const body = JSON.stringify({prompt, ...fields});
    const request = {method: "POST", path: "/v1/chat/stream", headers, body};
    return new ChatStream(this, request, "", 0, options).open();
  }

  /** Reads a stream that exists, after a position. `snapshot`: what was said so far in one piece. */
  async resume(streamId, {after = 0, ...options} = {}) {
    if (!Number.isInteger(after) || after < 0 || after > MAX_POSITION) {
      throw new RangeError(`after must be from 0 to ${MAX_POSITION}`);
    }
    return new ChatStream(this, null, checkedId(streamId), after, options).open();
  }

  /** Ends a stream at the server; gives its state. */
  async cancel(streamId, options) {
    return this.call("POST", `/v1/streams/${checkedId(streamId)}/cancel`, options);
  }

  /** What the server knows of a stream. */
  async state(streamId, options) {
    return this.call("GET", `/v1/streams/${checkedId(streamId)}`, options);
  }

  /** The models of the tenant. */
  models(options) { return this.call("GET", "/v1/models", options); }

  /** Sums of usage, all pages; `query` as for `GET /v1/usage`. */
  async usage(query = {}, options) {
    const rows = [];
    let page = {...query, limit: 1000};
    for (;;) {
      const path = `/v1/usage?${new URLSearchParams(page)}`;
      const {data, meta} = await this.#answer("GET", path, options);
      rows.push(...data);
      if (!meta.has_more) return rows;
      page = {limit: 1000, cursor: meta.cursor};
    }
  }

  /** Makes a call that may be repeated, and gives the `data` of its answer. */
  async call(method, path, options) { return (await this.#answer(method, path, options)).data; }

  async #answer(method, path, {signal} = {}) {
    const backoff = new Backoff(this.policy, this.policy.start);
    for (;;) {
      try {
        const timeout = AbortSignal.timeout(this.policy.silence * 1000);
        const either = signal ? AbortSignal.any([signal, timeout]) : timeout;
        const response = await this.send({method, path, headers: {}}, either);
        if (!response.ok) throw await refusal(response);
        return await json(response);
      } catch (error) {
        signal?.throwIfAborted();
        const seconds = error instanceof Broken ? backoff.wait(now(), Math.random()) : null;
        if (!(error instanceof Broken)) throw error;
        if (seconds === null) {
          throw new ConnectionFailedError(0, "connection_failed", error.message, {cause: error});
        }
        await sleep(seconds, signal);
      }
    }
  }

  /** Sends one request with credentials; a refused token is replaced once. */
  async send(request, signal) {
    if (this.#newToken && this.#token === null) this.#token = await this.#newToken(null);
    const response = await this.#fetch(request, signal);
    if (response.status !== 401 || !this.#newToken) return response;
    await response.body?.cancel();
    this.#token = await this.#newToken(this.#token);
    return this.#fetch(request, signal);
  }

  async #fetch({method, path, headers, body}, signal) {
    const sent = {...headers, "Authorization": `Bearer ${this.#token}`, "X-Tenant": this.tenant};
    // Without the browser's own credentials: a 401 must not open its password dialog.
    const options = {method, headers: sent, body, signal, credentials: "omit", cache: "no-store"};
    const silent = new AbortController();
    options.signal = AbortSignal.any([signal, silent.signal]);
    const timer = setTimeout(() => silent.abort(), this.policy.silence * 1000);
    try {
      return await this.fetch(this.url + path, options);
    } catch (error) {
      throw new Broken(error.message, {cause: error});
    } finally {
      clearTimeout(timer);
    }
  }
}

// --- small things --------------------------------------------------------------------------------

const now = () => performance.now() / 1000;

function parsed(data, id) {
  try {
    return JSON.parse(data);
  } catch (error) {
    throw new ProtocolError(`event ${id} is malformed: ${error.message}`);
  }
}

function checkedId(streamId) {
  if (!STREAM_ID.test(streamId)) throw new ProtocolError("that cannot be the id of a stream");
  return streamId;
}

async function json(response) {
  let text;
  try {
    text = await response.text();
  } catch (error) {
    throw new Broken(error.message, {cause: error});
  }
  try {
    return JSON.parse(text);
  } catch {
    throw new ProtocolError("the answer is not JSON");
  }
}

async function refusal(response) {
  const asked = response.headers.get("retry-after") ?? "";
  const more = {
    retryAfter: /^[0-9]{1,9}$/.test(asked) ? Number(asked) : null, // dates are left alone
    requestId: response.headers.get("x-request-id") ?? "",
    details: [],
  };
  const {status} = response;
  try {
    const said = JSON.parse(await response.text());
    if (typeof said.error !== "string") throw new TypeError("not ours");
    more.details = Array.isArray(said.details) ? said.details : [];
    return new AnswerError(status, said.error, String(said.message), more);
  } catch { // a proxy in between answered in its own words, or the body broke off
    return new AnswerError(status, "unexpected_answer", `HTTP ${status}`, more);
  }
}

// Waits; a network that comes back ends the wait.
function sleep(seconds, signal) {
  return new Promise((resolve, reject) => {
    const done = () => {
      clearTimeout(timer);
      globalThis.removeEventListener?.("online", done);
      signal?.removeEventListener("abort", done);
      if (signal?.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    globalThis.addEventListener?.("online", done);
    signal?.addEventListener("abort", done);
    if (signal?.aborted) done();
  });
}
