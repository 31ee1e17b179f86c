import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventSource } from 'eventsource';

import { headers, url } from './world.mjs';

async function started(model) {
  const answer = await fetch(`${url}/v1/chat/stream`, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ prompt: 'Hello?', model }),
  });
  const stream = answer.headers.get('x-stream-id');
  await answer.body.cancel();
  const issued = await fetch(`${url}/v1/streams/${stream}/tickets`, { method: 'POST', headers });
  assert.equal(issued.status, 201);
  return url + (await issued.json()).data.url;
}

// Follows with nothing but an address; `cut` breaks the first connection after so many events.
function follow(address, cut) {
  return new Promise((resolve) => {
    const ids = [];
    const requests = [];
    let breaker;
    const source = new EventSource(address, {
      fetch: async (input, init) => {
        requests.push(new Headers(init.headers).get('last-event-id'));
        breaker = new AbortController();
        const answer = await fetch(input, {
          ...init, signal: AbortSignal.any([init.signal, breaker.signal].filter(Boolean)),
        });
        if (requests.length > 1 || !cut) return answer;
        let seen = 0;
        const bytes = answer.body.pipeThrough(new TransformStream({
          transform(chunk, controller) {
            controller.enqueue(chunk);
            seen += String(new TextDecoder().decode(chunk)).split('\n\n').length - 1;
            if (seen >= cut) controller.terminate();
          },
        }));
        return new Response(bytes, { status: answer.status, headers: answer.headers });
      },
    });
    const take = (event) => ids.push(Number(event.lastEventId));
    for (const name of ['stream_start', 'step_start', 'text_start', 'text_delta', 'text_complete',
      'step_finish', 'stream_end']) source.addEventListener(name, take);
    source.addEventListener('error', (event) => {
      if (source.readyState === EventSource.CLOSED) resolve({ ids, requests, code: event.code });
    });
  });
}

const upTo = (last) => Array.from({ length: last }, (_, at) => at + 1);

// Both at once: a client waits some seconds before it comes back.
const [whole, broken] = await Promise.all([
  started('text').then((address) => follow(address)),
  started('paced').then((address) => follow(address, 20)),
]);

test('a ticket and an address are all it needs, and a finished stream ends it', () => {
  const { ids, requests, code } = whole;
  assert.deepEqual(ids, upTo(ids.length));
  assert.equal(ids.length, 8 + 6);
  assert.deepEqual(requests, [null, String(ids.length)]);
  assert.equal(code, 204);
});

test('it comes back by itself to where the connection broke', () => {
  const { ids, requests, code } = broken;
  assert.deepEqual(ids, upTo(ids.length));
  assert.equal(requests.length, 3);
  assert.ok(Number(requests[1]) >= 20);
  assert.equal(code, 204);
});
