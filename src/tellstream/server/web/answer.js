// An answer as a record: what a stream said so far. It can be stored, and goes on after `position`.

/** An answer that has not begun; `key` is the idempotency key of its request. */
export function newAnswer(key, model) {
  return {
    key,
    model, // asked for
    answeredBy: "", // what the provider calls it
    streamId: "",
    position: 0,
    provider: "",
    parts: [],
    finish: null, // why it ended, or null
    usage: null,
    error: null, // {code, message}
    startedAt: Date.now(),
    endedAt: null,
  };
}

const part = (answer, kind, id) => {
  const found = answer.parts.findLast((each) => each.kind === kind && each.id === id);
  if (found) return found;
  const made = FRESH[kind](id);
  answer.parts.push(made);
  return made;
};

const FRESH = {
  text: (id) => ({kind: "text", id, text: "", citations: [], done: false}),
  thinking: (id) => ({kind: "thinking", id, text: "", done: false}),
  tool: (id) => ({kind: "tool", id, name: "", raw: "", arguments: null, result: null, done: false}),
  search: (id) => ({kind: "search", id, name: "", status: ""}),
  artifact: (id) => ({kind: "artifact", id, name: "", type: "", data: ""}),
};

// What each event does to an answer; gives the part that it changed.
const TAKES = {
  stream_start: (answer, {model, provider}) =>
    void Object.assign(answer, {answeredBy: model, provider}),
  text_start: (answer, event) => part(answer, "text", event.message_id),
  text_delta: (answer, event) => grown(part(answer, "text", event.message_id), event.delta),
  text_complete: (answer, event) => done(part(answer, "text", event.message_id)),
  thinking_start: (answer, event) => part(answer, "thinking", event.reasoning_id),
  thinking_delta: (answer, event) => grown(part(answer, "thinking", event.reasoning_id), event.delta),
  thinking_complete: (answer, event) => done(part(answer, "thinking", event.reasoning_id)),
  tool_call_delta(answer, event) {
    const tool = part(answer, "tool", event.tool_id);
    return Object.assign(tool, {name: event.tool_name, raw: tool.raw + event.delta});
  },
  tool_call(answer, event) {
    const {tool_name: name, arguments: given, invalid_arguments: raw = ""} = event;
    return done(Object.assign(part(answer, "tool", event.tool_id), {name, arguments: given, raw}));
  },
  tool_result(answer, event) {
    const {success, error, result} = event;
    return Object.assign(part(answer, "tool", event.tool_id), {result: {success, error, result}});
  },
  provider_tool_event(answer, event) {
    const {tool_type: name, status} = event;
    return Object.assign(part(answer, "search", event.item_id), {name, status});
  },
  artifact(answer, {id, tool_name: name, artifact}) {
    const {mime_type: type, data} = artifact;
    return Object.assign(part(answer, "artifact", id), {name, type, data});
  },
  citation(answer, event) {
    const text = part(answer, "text", event.message_id);
    text.citations.push(event.citation);
    return text;
  },
  error(answer, {error_type: code, message, recoverable}) {
    if (!recoverable) answer.error = {code, message};
  },
  stream_end(answer, {finish_reason: finish, usage}) {
    Object.assign(answer, {finish, usage, endedAt: Date.now()});
  },
};

function grown(changed, delta) {
  changed.text += delta;
  return changed;
}

const done = (changed) => Object.assign(changed, {done: true});

/** Adds an event to an answer; gives the part that changed, if one did. */
export function take(answer, event) {
  answer.position = event.position;
  return TAKES[event.type]?.(answer, event);
}

/** Says that an answer will not go on, and why. */
export function fail(answer, code, message) {
  Object.assign(answer, {finish: "Error", error: {code, message}, endedAt: Date.now()});
}

/** Everything that was said in words. */
export const spoken = (answer) =>
  answer.parts.filter((each) => each.kind === "text").map((each) => each.text).join("\n\n");
