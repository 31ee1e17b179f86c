// Does what a job on standard input says with the JavaScript client, and prints what came of it.

import {argv, stdin, stdout} from "node:process";
import {text} from "node:stream/consumers";

const {Backoff, EventDecoder, Tellstream} = await import(argv[2]);
const job = JSON.parse(await text(stdin));
const outcome = {events: [], positions: [], refused: [], lost: 0, error: null};

const JOBS = {
  decode() {
    outcome.decoded = job.pieces.map((pieces) => {
      const decoder = new EventDecoder();
      const events = pieces.flatMap((piece) => [...decoder.feed(Buffer.from(piece, "base64"))]);
      return {events, retry: decoder.retry};
    });
  },

  backoff() {
    const backoff = new Backoff(job.policy, job.budget);
    outcome.waits = job.failures.map(([now, chance, atLeast]) => {
      if (now === null) return backoff.progress() ?? "progress";
      return backoff.wait(now, chance, atLeast);
    });
  },

  async read() {
    const client = made();
    const onConnection = ({connected}) => { outcome.lost += connected ? 0 : 1; };
    const controller = new AbortController();
    const options = {...job.options, onConnection, signal: controller.signal};
    const stream = job.streamId
      ? await client.resume(job.streamId, options)
      : await client.start(job.prompt, options);
    outcome.streamId = stream.streamId;
    outcome.key = stream.idempotencyKey;
    for await (const {position, type, ...data} of stream) {
      outcome.events.push([type, data]);
      outcome.positions.push(position);
      if (outcome.events.length === job.cancelAt) outcome.cancelled = await stream.cancel();
      if (outcome.events.length === job.leaveAt) break;
      if (outcome.events.length === job.abortAt) controller.abort();
    }
    outcome.position = stream.position;
  },

  async call() { outcome.answer = await made()[job.method](...job.arguments); },
};

function made() {
  const tokens = [...job.tokens];
  const token = (refused) => {
    outcome.refused.push(refused);
    return tokens.shift();
  };
  const one = job.tokens.length === 1;
  return new Tellstream({...job.client, token: one ? job.tokens[0] : token});
}

try {
  await JOBS[job.do]();
} catch (error) {
  const {name, status, code, message, details, retryAfter, position, idempotencyKey} = error;
  outcome.error = {name, status, code, message, details, retryAfter, position, idempotencyKey};
}
stdout.write(JSON.stringify(outcome));
