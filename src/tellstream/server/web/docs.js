// The interactive reference: draws openapi.json and lets one try its operations.
//
// Everything shown is put into the page as text, never as markup. Nothing is stored, and nothing
// outside this server is asked: the content security policy of the page would refuse it.

const ROOT = location.pathname.replace(/\/docs\/?$/, "");
const METHODS = ["get", "post", "put", "patch", "delete"];
const GROUPS = [
  ["Chat", (path) => path.includes("/v1/")],
  ["Authorization", (path) => path.includes("oauth")],
  ["Server", () => true],
];

const byId = (id) => document.getElementById(id);

// Without the browser's own credentials: a 401 must not open its password dialog.
const ask = (path, options) => fetch(ROOT + path, {credentials: "omit", ...options});

// --- building the page ---------------------------------------------------------------------------

// el("a.link", {href: "#x"}, "text", node, …): an element with attributes, listeners and children.
function el(name, attributes = {}, ...children) {
  const [tag, ...classes] = name.split(".");
  const element = document.createElement(tag);
  element.className = classes.join(" ");
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== undefined) element.setAttribute(key, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child || child === 0));
  return element;
}

// Prose of the document: its first part, with `names` in code type.
function prose(text = "") {
  const words = text.split(/\n\s*Attributes:/)[0].replace(/\s+/g, " ").trim();
  return words.split(/`+/).map((part, n) => (n % 2 ? el("code", {}, part) : part));
}

const slug = (text) => text.toLowerCase().replace(/[^a-z0-9]+/g, "-").replace(/^-|-$/g, "");
const schemaAnchor = (name) => `schema-${name}`;

// --- schemas -------------------------------------------------------------------------------------

const refName = (schema) => schema.$ref.split("/").pop();

// A schema in a word or two; names of schemas are links.
function typeOf(schema = {}) {
  if (schema.$ref) {
    return [el("a", {href: `#${schemaAnchor(refName(schema))}`}, refName(schema))];
  }
  if (schema.anyOf) return join(schema.anyOf.map(typeOf), " or ");
  if ("const" in schema) return [el("code", {}, JSON.stringify(schema.const))];
  if (schema.enum) {
    const shown = schema.enum.length > 9 ? schema.enum.slice(0, 9) : schema.enum;
    const values = join(shown.map((value) => [el("code", {}, JSON.stringify(value))]), " or ");
    return shown.length < schema.enum.length ? [...values, " …"] : values;
  }
  if (schema.type === "array") return ["array of ", ...typeOf(schema.items)];
  if (schema.type === "object" && schema.additionalProperties?.type) {
    return ["object of ", ...typeOf(schema.additionalProperties)];
  }
  return [schema.type ?? "any"];
}

function join(lists, separator) {
  return lists.flatMap((list, n) => (n ? [separator, ...list] : list));
}

function bounds(schema) {
  const words = [];
  if (schema.pattern) words.push(schema.pattern);
  for (const [low, high, unit] of [
    ["minimum", "maximum", ""],
    ["minLength", "maxLength", " characters"],
    ["minItems", "maxItems", " items"],
    ["minProperties", "maxProperties", " keys"],
  ]) {
    const least = schema[low], most = schema[high];
    if (least !== undefined && most !== undefined) words.push(`${least} to ${most}${unit}`);
    else if (least !== undefined) words.push(`at least ${least}${unit}`);
    else if (most !== undefined) words.push(`at most ${most}${unit}`);
  }
  return [...words, ...(schema.anyOf ?? []).map(bounds)].filter(Boolean).join(", ");
}

// The fields of an object schema, as a table; other schemas in words.
function fieldsOf(schema) {
  const fields = Object.entries(schema.properties ?? {});
  if (!fields.length) return el("p", {}, typeOf(schema));
  const required = new Set(schema.required ?? []);
  return table(
    ["field", "type", ""],
    fields.map(([name, field]) => [
      [el("code", {}, name), required.has(name) ? el("span.required", {}, " required") : ""],
      typeOf(field),
      [...prose(field.description), field.description ? " " : "", bounds(field)],
    ]),
  );
}

function table(head, rows) {
  return el("div.scroll", {},
    el("table", {},
      el("thead", {}, el("tr", {}, head.map((text) => el("th", {scope: "col"}, text)))),
      el("tbody", {}, rows.map((cells) => el("tr", {}, cells.map((cell) => el("td", {}, cell))))),
    ),
  );
}

function schemaBlock(name, schema) {
  return el("details.block", {id: schemaAnchor(name)},
    el("summary", {}, el("code", {}, name), " ", el("span.quiet", {}, prose(schema.description))),
    fieldsOf(schema),
  );
}

// A small value of a schema, to begin with in the editor.
function example(document, schema = {}) {
  if (schema.$ref) return example(document, document.components.schemas[refName(schema)]);
  const fields = Object.entries(schema.properties ?? {});
  const required = new Set(schema.required ?? []);
  const value = (name, field) => (name === "prompt" ? "Hello" : example(document, field));
  if (fields.length) {
    return Object.fromEntries(
      fields.filter(([name]) => required.has(name)).map(([name, f]) => [name, value(name, f)]),
    );
  }
  const samples = {string: "", integer: 0, number: 0, boolean: false, array: [], object: {}};
  return schema.example ?? schema.enum?.[0] ?? schema.const ?? samples[schema.type] ?? null;
}

// --- operations ----------------------------------------------------------------------------------

// The operations of the document; paths that share method and summary are one operation.
function operationsOf(document) {
  const found = new Map();
  for (const [path, item] of Object.entries(document.paths)) {
    for (const method of METHODS.filter((name) => item[name])) {
      const key = `${method} ${item[method].summary}`;
      if (found.has(key)) found.get(key).paths.push(path);
      else found.set(key, {method, paths: [path], ...item[method]});
    }
  }
  return [...found.values()].map((operation) => ({
    ...operation,
    path: operation.paths[0],
    id: slug(`${operation.method} ${operation.paths[0]}`),
    open: operation.security?.length === 0,
  }));
}

function operationBlock(document, operation) {
  const {method, path, paths, summary} = operation;
  return el("details.block.operation", {id: operation.id},
    el("summary", {},
      el(`span.method.${method}`, {}, method.toUpperCase()), " ",
      el("code.path", {}, breakable(path)), " ",
      el("span.quiet", {}, summary),
    ),
    paths.length > 1 && el("p.quiet", {},
      "Also at ", join(paths.slice(1).map((alias) => [el("code", {}, alias)]), ", "), "."),
    el("p.quiet", {}, operation.open ? "Public: no token is needed." : scopeWords(operation)),
    parametersOf(operation),
    bodyOf(operation),
    tryPanel(document, operation),
    responsesOf(operation),
  );
}

// A path that may break after each slash, so that it fits a phone.
function breakable(path) {
  return path.split(/(?<=\/)/).flatMap((part) => [part, el("wbr")]);
}

function scopeWords(operation) {
  const scopes = Object.values(operation.security?.[0] ?? {}).flat();
  return ["Needs a token with scope ", join(scopes.map((s) => [el("code", {}, s)]), ", "), "."];
}

function pathNames(path) {
  return [...path.matchAll(/\{(\w+)\}/g)].map((match) => match[1]);
}

function parametersOf(operation) {
  const declared = operation.parameters ?? [];
  const named = new Set(declared.map((parameter) => parameter.name));
  const inPath = pathNames(operation.path)
    .filter((name) => !named.has(name))
    .map((name) => ({name, in: "path", required: true, schema: {type: "string"}}));
  const all = [...inPath, ...declared];
  if (!all.length) return "";
  return [
    el("h4", {}, "Parameters"),
    table(["name", "in", "type"], all.map((parameter) => [
      [el("code", {}, parameter.name),
        parameter.required ? el("span.required", {}, " required") : ""],
      parameter.in,
      [...typeOf(parameter.schema), " ", el("span.quiet", {}, bounds(parameter.schema ?? {}))],
    ])),
  ];
}

function bodyOf(operation) {
  return Object.entries(operation.requestBody?.content ?? {}).map(([type, {schema}]) => [
    el("h4", {}, "Body"),
    el("p", {}, el("code", {}, type), ": ", typeOf(schema)),
  ]);
}

function responsesOf(operation) {
  const rows = Object.entries(operation.responses ?? {}).map(([status, response]) => [
    [el("code", {}, status)],
    prose(response.description),
    Object.entries(response.content ?? {}).map(([type, {schema}]) => [
      el("code", {}, type), " ",
      schema.$ref || schema.properties ? typeOf(schema) : "",
      eventsOf(schema),
    ]),
  ]);
  return [el("h4", {}, "Responses"), table(["status", "meaning", "content"], rows)];
}

function eventsOf(schema) {
  const events = Object.values(schema["x-event-schemas"] ?? {});
  return events.length ? [el("br"), "events: ", join(events.map(typeOf), ", ")] : "";
}

// --- trying an operation -------------------------------------------------------------------------

function tryPanel(document, operation) {
  const inputs = Object.fromEntries(pathNames(operation.path).map((name) => [
    name, el("input", {autocomplete: "off", spellcheck: "false", required: true}),
  ]));
  const [mediaType, content] = Object.entries(operation.requestBody?.content ?? {})[0] ?? [];
  const editor = mediaType && el("textarea", {rows: 6, spellcheck: "false"});
  if (editor) {
    const value = example(document, content.schema);
    editor.value = mediaType.includes("urlencoded")
      ? new URLSearchParams(value).toString()
      : JSON.stringify(value, null, 2);
  }

  const send = el("button.primary", {type: "submit"}, "Send");
  const stop = el("button", {type: "button", hidden: true}, "Stop");
  const status = el("output");
  const answer = el("div.answer");
  const form = el("form.try", {},
    el("h4", {}, "Try it"),
    Object.entries(inputs).map(([name, input]) => el("label", {}, name, input)),
    editor && el("label", {}, "Body", editor),
    el("div.row", {}, send, stop, status),
    answer,
  );
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const path = operation.path.replace(/\{(\w+)\}/g, (_, name) =>
      encodeURIComponent(inputs[name].value.trim()));
    send.disabled = true;
    answer.replaceChildren();
    status.textContent = "Waiting …";
    try {
      await call(operation, path, mediaType, editor?.value, {status, answer, stop});
    } catch (error) {
      status.textContent = error.name === "AbortError" ? "Stopped." : `Failed: ${error.message}`;
    }
    send.disabled = false;
    stop.hidden = true;
  });
  return form;
}

function accessHeaders() {
  const headers = {"X-Tenant": byId("tenant").value.trim()};
  const token = byId("token").value.trim();
  if (token) headers.Authorization = `Bearer ${token}`;
  return headers;
}

async function call(operation, path, mediaType, body, view) {
  const abort = new AbortController();
  let stopStream = () => abort.abort();
  view.stop.onclick = () => stopStream();
  view.stop.hidden = false;
  const headers = operation.open ? {} : accessHeaders();
  if (mediaType) headers["Content-Type"] = mediaType;
  const began = performance.now();
  const response = await ask(path, {
    method: operation.method.toUpperCase(), headers, body, signal: abort.signal,
  });
  const said = `${response.status} ${response.statusText}`.trim();
  const type = response.headers.get("Content-Type") ?? "";
  if (type.startsWith("text/event-stream")) {
    const id = response.headers.get("X-Stream-Id");
    stopStream = () => ask(`/v1/streams/${id}/cancel`, {method: "POST", headers: accessHeaders()});
    view.status.textContent = `${said}, streaming`;
    const frames = await showStream(response, view.answer, id);
    view.status.textContent = `${said}, ${frames} events in ${seconds(began)}`;
  } else {
    const text = await response.text();
    view.status.textContent = `${said} in ${seconds(began)}`;
    view.answer.append(
      el("pre", {tabindex: 0, "aria-label": "Response body"}, pretty(text)),
      headersOf(response),
    );
  }
}

const seconds = (began) => `${((performance.now() - began) / 1000).toFixed(2)} s`;

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function headersOf(response) {
  const rows = [...response.headers].map(([name, value]) => [[el("code", {}, name)], value]);
  return el("details", {}, el("summary", {}, "Response headers"), table(["header", "value"], rows));
}

// Reads server-sent events as they arrive and shows each; returns how many there were.
async function showStream(response, answer, id) {
  const text = el("p.text");
  const thinking = el("p.thinking");
  const frames = el("ol.frames", {tabindex: 0, "aria-label": "Events as they arrived"});
  answer.append(el("p.quiet", {}, "Stream ", el("code", {}, id ?? "")), thinking, text, frames,
    headersOf(response));
  let count = 0;
  for await (const {number, event, data} of eventsIn(response.body)) {
    const follows = frames.scrollTop + frames.clientHeight > frames.scrollHeight - 40;
    frames.append(el(event ? "li" : "li.comment", {},
      el("span.number", {}, number), el("span.event", {}, event || "comment"),
      el("code", {}, data)));
    if (follows) frames.scrollTop = frames.scrollHeight;
    if (!event) continue;
    count += 1;
    if (event === "text_delta") text.append(JSON.parse(data).delta);
    if (event === "thinking_delta") thinking.append(JSON.parse(data).delta);
  }
  return count;
}

// Splits a body into events. A comment comes out at once, as an event without a name.
async function* eventsIn(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let held = "";
  let fields = {};
  for (;;) {
    const {done, value} = await reader.read();
    if (done) return;
    const lines = (held + decoder.decode(value, {stream: true})).split("\n");
    held = lines.pop();
    for (const line of lines) {
      if (line.startsWith(":")) {
        yield {number: "", event: "", data: line};
      } else if (line) {
        const [name, rest] = [line.slice(0, line.indexOf(":")), line.slice(line.indexOf(":") + 1)];
        fields[name] = rest.replace(/^ /, "");
      } else if (fields.data !== undefined) {
        yield {number: fields.id, event: fields.event ?? "message", data: fields.data};
        fields = {};
      }
    }
  }
}

// --- the whole page ------------------------------------------------------------------------------

byId("credentials").addEventListener("submit", async (event) => {
  event.preventDefault();
  const status = byId("credentials-status");
  const form = new URLSearchParams(new FormData(event.target));
  form.set("grant_type", "client_credentials");
  status.textContent = "Waiting …";
  try {
    const response = await ask("/oauth/token", {method: "POST", body: form});
    const answer = await response.json();
    if (answer.access_token) byId("token").value = answer.access_token;
    status.textContent = response.ok
      ? `Valid for ${answer.expires_in} s, scope ${answer.scope}.`
      : `${answer.error}: ${answer.error_description}`;
  } catch (error) {
    status.textContent = `Failed: ${error.message}`;
  }
});

// Opens the block that the address names, also when a link within the page is followed.
function openTarget() {
  const target = location.hash && byId(decodeURIComponent(location.hash.slice(1)));
  if (target instanceof HTMLDetailsElement) {
    target.open = true;
    target.scrollIntoView();
  }
}

function draw(document) {
  byId("version").textContent = document.info.version;
  const contents = [];
  let left = operationsOf(document);
  for (const [title, belongs] of GROUPS) {
    const members = left.filter((operation) => belongs(operation.path));
    left = left.filter((operation) => !members.includes(operation));
    if (!members.length) continue;
    const id = slug(title);
    byId("operations").append(el("section", {"aria-labelledby": id},
      el("h2", {id}, title), members.map((operation) => operationBlock(document, operation))));
    contents.push(el("h2", {}, title), el("ul", {}, members.map((operation) => el("li", {},
      el("a", {href: `#${operation.id}`},
        el(`span.method.${operation.method}`, {}, operation.method.toUpperCase()), " ",
        breakable(operation.path))))));
  }
  const schemas = Object.entries(document.components.schemas);
  byId("schemas").append(...schemas.map(([name, schema]) => schemaBlock(name, schema)));
  contents.push(el("h2", {}, el("a", {href: "#schemas"}, "Schemas")));
  byId("contents").append(...contents);
  byId("access").hidden = byId("schemas").hidden = false;
  byId("notice").remove();
  const first = document.paths["/v1/chat/stream"] && byId("post-v1-chat-stream");
  if (first && !location.hash) first.open = true;
}

try {
  const response = await ask("/openapi.json");
  if (!response.ok) throw new Error(`HTTP ${response.status}`);
  draw(await response.json());
  window.addEventListener("hashchange", openTarget);
  openTarget();
} catch (error) {
  byId("notice").textContent = `The description of this server could not be read: ${error.message}`;
}
