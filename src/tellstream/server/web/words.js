// What codes and numbers mean to people.

const FINISH = {
  Length: "The answer reached its length limit.",
  ContentFilter: "The answer was stopped by a content filter.",
  ToolCalls: "The model asks for a tool that this page does not have.",
  Cancelled: "You stopped this answer.",
  Other: "The model stopped for a reason of its own.",
  Unknown: "The model did not say why it stopped.",
};

/** Why an answer ended, if that needs saying; "" for a normal end. */
export const finishText = (reason) => FINISH[reason] ?? "";

const ERRORS = {
  connection_failed: "The server could not be reached.",
  connection_lost: "The connection was lost and did not come back.",
  gone: "The rest of this answer is not stored any more.",
  not_found: "This answer is not stored any more.",
  rate_limit_exceeded: "Too many requests. Wait a moment, then try again.",
  concurrency_limit_exceeded: "Too many answers at once. Wait for one to end, then try again.",
  quota_exceeded: "The token budget of this tenant is used up.",
  provider_rate_limited: "The model's provider is busy. Try again in a moment.",
  provider_unavailable: "The model's provider cannot be reached. Try again in a moment.",
  provider_timeout: "The model's provider took too long.",
  provider_auth: "The server's account at the model's provider does not work.",
  provider_quota: "The server's account at the model's provider is used up.",
  upstream_truncated: "The provider broke off in the middle of its answer.",
  worker_lost: "The server lost this answer. Try again.",
  server_draining: "The server is being restarted. Try again.",
  insufficient_scope: "Your account may not do this.",
  forbidden: "Your account may not use this tenant.",
};

/** What went wrong, for people; an error of the client, or `{code, message}` of a stream. */
export function errorText({code, message, details = [], retryAfter = null}) {
  const known = ERRORS[code] ?? (message || "Something went wrong.");
  const fields = details.map((each) => `${each.field} ${each.message}`).join("; ");
  const wait = retryAfter ? ` (${duration(retryAfter * 1000)})` : "";
  return fields ? `${known} ${fields}.` : known + wait;
}

const numbers = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", {notation: "compact", maximumFractionDigits: 1});
const days = new Intl.DateTimeFormat("en", {day: "numeric", month: "short", timeZone: "UTC"});

export const count = (number) => numbers.format(number);
export const brief = (number) => short.format(number);
const amounts = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 4});
const cents = new Intl.NumberFormat("en", {minimumFractionDigits: 2, maximumFractionDigits: 2});
/** An amount of money at an axis, as short as it can be told. */
export const amount = (number) => amounts.format(number);
/** An amount of money: small ones to four decimals. */
export const money = (number) => (number >= 1 || !number ? cents.format(number) : number.toFixed(4));
/** A share, of 0 to 1: small ones with a decimal, and never 0 % of something. */
export const percent = (share) =>
  `${share > 0 && share < 0.1 ? Math.max(0.1, share * 100).toFixed(1) : Math.round(share * 100)}\u00a0%`;
/** A day, from `YYYY-MM-DD`. */
export const day = (text) => days.format(new Date(`${text}T00:00:00Z`));

/** Milliseconds, roughly; a number and its unit stay in one line. */
export function duration(milliseconds) {
  const seconds = milliseconds / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)}\u00a0s`;
  if (seconds < 90) return `${Math.round(seconds)}\u00a0s`;
  return `${Math.round(seconds / 60)}\u00a0min`;
}

/** Tokens, of a usage or a row of sums. */
export function usageText({prompt_tokens: read, completion_tokens: written, thought_tokens: thought}) {
  const thinking = thought ? `, ${count(thought)} of them thinking` : "";
  return `${count(read)} tokens read, ${count(written)} written${thinking}`;
}

/** How long ago, for lists. */
export function ago(time) {
  const today = new Date().setHours(0, 0, 0, 0);
  if (time >= today) return "Today";
  if (time >= today - 86_400_000) return "Yesterday";
  if (time >= today - 6 * 86_400_000) return "Last week";
  return "Earlier";
}
