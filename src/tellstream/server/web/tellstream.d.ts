// Types of tellstream.js. The events are those of docs/reference/events.md.

export interface Policy {
  giveUp: number;
  start: number;
  base: number;
  cap: number;
  silence: number;
  stable: number;
}
export const POLICY: Readonly<Policy>;

// --- events --------------------------------------------------------------------------------------

export type FinishReason =
  | "Stop" | "Length" | "ContentFilter" | "ToolCalls" | "Error" | "Other" | "Unknown" | "Cancelled";

export interface Usage {
  prompt_tokens: number;
  completion_tokens: number;
  cache_write_input_tokens: number | null;
  cache_read_input_tokens: number | null;
  thought_tokens: number | null;
}

export interface Citation {
  source_type: string;
  source: string | number;
  source_text: string | null;
  source_title: string | null;
  source_position_type: string | null;
  source_start_index: number | null;
  source_end_index: number | null;
  additional_content: Record<string, unknown>;
}

export interface CitationPart {
  output_text: string;
  citations: Citation[];
}

export interface ArtifactData {
  id: string | null;
  data: string;
  mime_type: string;
  metadata: Record<string, unknown>;
}

export interface BaseEvent {
  /** `evt_` and a ULID. */
  id: string;
  /** Unix seconds. */
  timestamp: number;
  /** Sequence number in the stream: where to resume after this event. */
  position: number;
}
export interface StreamStart extends BaseEvent {
  type: "stream_start";
  model: string;
  provider: string;
  metadata: Record<string, string> | null;
}
export interface StepStart extends BaseEvent { type: "step_start" }
export interface TextStart extends BaseEvent { type: "text_start"; message_id: string }
export interface TextDelta extends BaseEvent {
  type: "text_delta";
  delta: string;
  message_id: string;
}
export interface TextComplete extends BaseEvent { type: "text_complete"; message_id: string }
export interface ThinkingStart extends BaseEvent { type: "thinking_start"; reasoning_id: string }
export interface ThinkingDelta extends BaseEvent {
  type: "thinking_delta";
  delta: string;
  reasoning_id: string;
  summary: Record<string, unknown> | null;
}
export interface ThinkingComplete extends BaseEvent {
  type: "thinking_complete";
  reasoning_id: string;
  summary: Record<string, unknown> | null;
}
export interface ToolCallDelta extends BaseEvent {
  type: "tool_call_delta";
  tool_id: string;
  tool_name: string;
  delta: string;
  message_id: string;
}
export interface ToolCall extends BaseEvent {
  type: "tool_call";
  tool_id: string;
  tool_name: string;
  arguments: Record<string, unknown>;
  message_id: string;
  reasoning_id: string | null;
  /** The raw text, where the arguments were no JSON object. */
  invalid_arguments?: string;
}
export interface ToolResult extends BaseEvent {
  type: "tool_result";
  tool_id: string;
  result: unknown;
  tool_call_result_id: string | null;
  message_id: string;
  success: boolean;
  error: string | null;
}
export interface Artifact extends BaseEvent {
  type: "artifact";
  tool_call_id: string;
  tool_name: string;
  message_id: string;
  artifact: ArtifactData;
}
export interface ProviderToolEvent extends BaseEvent {
  type: "provider_tool_event";
  event_key: string;
  tool_type: string;
  status: string;
  item_id: string;
  data: Record<string, unknown>;
}
export interface CitationEvent extends BaseEvent {
  type: "citation";
  citation: Citation;
  message_id: string;
  block_index: number | null;
  metadata: Record<string, unknown> | null;
}
export interface ErrorEvent extends BaseEvent {
  type: "error";
  error_type: string;
  message: string;
  recoverable: boolean;
  metadata: Record<string, unknown> | null;
}
export interface StepFinish extends BaseEvent { type: "step_finish" }
export interface StreamEnd extends BaseEvent {
  type: "stream_end";
  finish_reason: FinishReason;
  usage: Usage | null;
  citations: CitationPart[] | null;
}
/** Events of types that this version does not know are passed over. */
export type StreamEvent =
  | StreamStart | StepStart | TextStart | TextDelta | TextComplete | ThinkingStart | ThinkingDelta
  | ThinkingComplete | ToolCallDelta | ToolCall | ToolResult | Artifact | ProviderToolEvent
  | CitationEvent | ErrorEvent | StepFinish | StreamEnd;

// --- errors --------------------------------------------------------------------------------------

export class TellstreamError extends Error {
  /** HTTP status; 0: there was no answer. */
  readonly status: number;
  readonly code: string;
}
export class AnswerError extends TellstreamError {
  readonly details: {field: string; message: string}[];
  /** Seconds. */
  readonly retryAfter: number | null;
  readonly requestId: string;
}
export class ConnectionFailedError extends TellstreamError {
  readonly idempotencyKey?: string;
}
export class ConnectionLostError extends TellstreamError {
  readonly streamId: string;
  readonly position: number;
}
export class ProtocolError extends TellstreamError {
  constructor(message: string);
}

// --- parts, for those who read streams in their own way -----------------------------------------

export interface ServerSentEvent {
  event: string;
  data: string;
  id: string;
}
export class EventDecoder {
  /** Milliseconds. */
  retry: number | null;
  feed(bytes: Uint8Array): Generator<ServerSentEvent>;
}
export class Backoff {
  constructor(policy: Pick<Policy, "base" | "cap">, budget: number);
  progress(): void;
  /** All in seconds; `chance` is a random number in [0, 1). Null: give up. */
  wait(now: number, chance: number, atLeast?: number): number | null;
}

// --- the client ----------------------------------------------------------------------------------

export type Connection =
  | {connected: true}
  | {connected: false; /** until the next try */ seconds: number; reason: string};

export interface ReadOptions {
  /** Leaves the stream, which goes on at the server. */
  signal?: AbortSignal;
  onConnection?: (connection: Connection) => void;
}
export interface Turn {
  role?: "user" | "assistant" | "tool";
  content?: string;
  [more: string]: unknown;
}
export interface StartOptions extends ReadOptions {
  idempotencyKey?: string;
  fields?: {
    history?: Turn[] | null;
    model?: string;
    metadata?: Record<string, string>;
    max_output_tokens?: number;
    temperature?: number;
    reasoning_effort?: string;
    tools?: unknown[];
    tool_choice?: unknown;
  };
}
export interface ResumeOptions extends ReadOptions {
  after?: number;
  snapshot?: boolean;
}
export interface StreamState {
  id: string;
  state: "running" | "finished";
  model: string;
  provider: string;
  created_at: number;
  finished_at: number | null;
  finish_reason: FinishReason | null;
  usage: Usage | null;
  estimated: boolean;
  attempts: Record<string, unknown>[];
}
export interface Model {
  id: string;
  default: boolean;
}
export interface UsageQuery {
  from?: string;
  to?: string;
  by?: "day" | "model" | "client" | "subject" | "stream";
}
export interface UsageRow {
  day?: string;
  model?: string;
  client?: string;
  subject?: string;
  stream?: string;
  streams: number;
  prompt_tokens: number;
  completion_tokens: number;
  cache_read_input_tokens: number | null;
  cache_write_input_tokens: number | null;
  thought_tokens: number | null;
  estimated_streams: number;
  /** An exact decimal number, or null: no price is known. */
  cost: string | null;
  /** How many streams ended how; together they are `streams`. */
  finish_reasons: Partial<Record<FinishReason, number>>;
  /** From the start of a stream to its first content event; null: there was none. */
  first_token_ms: FirstTokenTimes | null;
}
/** Milliseconds; `p50` and `p95` are estimated from `counts`. */
export interface FirstTokenTimes {
  streams: number;
  mean: number;
  p50: number;
  p95: number;
  max: number;
  /** Streams in each class of times, by the longest time in it; `more`: beyond them all. */
  counts: Record<string, number>;
}

export class ChatStream implements AsyncIterable<StreamEvent> {
  readonly streamId: string;
  readonly position: number;
  readonly after: number;
  readonly idempotencyKey: string | null;
  [Symbol.asyncIterator](): AsyncGenerator<StreamEvent, void, void>;
  open(): Promise<this>;
  close(): void;
  cancel(): Promise<StreamState>;
}

export interface Options {
  /** Where the server is; empty: where this page comes from. */
  url?: string;
  tenant: number | string;
  /** An access token, or a function that gives one; it is told which one was refused. */
  token: string | ((refused: string | null) => string | Promise<string>);
  policy?: Partial<Policy>;
  fetch?: typeof fetch;
}
export class Tellstream {
  constructor(options: Options);
  start(prompt: string, options?: StartOptions): Promise<ChatStream>;
  resume(streamId: string, options?: ResumeOptions): Promise<ChatStream>;
  cancel(streamId: string, options?: {signal?: AbortSignal}): Promise<StreamState>;
  state(streamId: string, options?: {signal?: AbortSignal}): Promise<StreamState>;
  models(options?: {signal?: AbortSignal}): Promise<Model[]>;
  usage(query?: UsageQuery, options?: {signal?: AbortSignal}): Promise<UsageRow[]>;
}
