import assert from 'node:assert/strict';
import { test } from 'node:test';

import {
  asSchema,
  DefaultChatTransport,
  parseJsonEventStream,
  readUIMessageStream,
  uiMessageChunkSchema,
} from 'ai';

import { headers, url, weather } from './world.mjs';

const api = `${url}/v1/ui/chat`;
const user = (text, id = 'm1') => ({ id, role: 'user', parts: [{ type: 'text', text }] });
let counter = 0;
const fresh = () => `chat-${process.pid}-${(counter += 1)}`;

function transport(model, body = {}) {
  return new DefaultChatTransport({ api, headers, body: { model, ...body } });
}

async function finished(stream, message) {
  const errors = [];
  let last;
  for await (const one of readUIMessageStream({ stream, message, onError: (e) => errors.push(e) })) {
    last = one;
  }
  return { message: last, errors };
}

async function ask(model, { body, chatId = fresh(), messages = [user('Hello?')] } = {}) {
  const stream = await transport(model, body).sendMessages({
    chatId,
    messages,
    trigger: 'submit-message',
    abortSignal: undefined,
  });
  return finished(stream, messages.at(-1).role === 'assistant' ? messages.at(-1) : undefined);
}

const parts = (message, type) => message.parts.filter((part) => part.type === type);

test('every chunk of every kind of stream matches the published schema', async () => {
  const schema = asSchema(uiMessageChunkSchema);
  for (const model of ['text', 'thinking', 'tools', 'cited', 'refusal', 'length', 'error']) {
    const answer = await fetch(api, {
      method: 'POST',
      headers: { ...headers, 'Content-Type': 'application/json' },
      body: JSON.stringify({
        id: fresh(), messages: [user('Hello?')], trigger: 'submit-message', model, tools: [weather],
      }),
    });
    assert.equal(answer.headers.get('x-vercel-ai-ui-message-stream'), 'v1');
    let chunks = 0;
    for await (const one of parseJsonEventStream({ stream: answer.body, schema })) {
      assert.ok(one.success, `${model}: ${one.error}`);
      chunks += 1;
    }
    assert.ok(chunks > 3, model);
  }
});

test('text, with its metadata', async () => {
  const { message, errors } = await ask('text');
  assert.deepEqual(errors, []);
  const [text] = parts(message, 'text');
  assert.equal(text.text.split(' ').length, 8);
  assert.equal(text.state, 'done');
  assert.equal(message.metadata.finishReason, 'Stop');
  assert.ok(message.metadata.usage.completion_tokens > 0);
});

test('thinking becomes reasoning', async () => {
  const { message } = await ask('thinking');
  assert.ok(parts(message, 'reasoning')[0].text.length > 0);
});

test('calls are input for tools, and the answer to them goes on in the same message', async () => {
  const chatId = fresh();
  const first = await ask('tools', { chatId, body: { tools: [weather] } });
  const called = parts(first.message, 'tool-get_weather');
  assert.equal(called.length, 2);
  assert.ok(called.every((part) => part.state === 'input-available'));
  for (const part of called) Object.assign(part, { state: 'output-available', output: { degrees: 21 } });
  const second = await ask('text', {
    chatId,
    body: { tools: [weather] },
    messages: [user('Hello?'), first.message],
  });
  assert.deepEqual(second.errors, []);
  assert.equal(second.message.id, first.message.id);
  assert.equal(parts(second.message, 'text').length, 1);
  assert.equal(parts(second.message, 'tool-get_weather').length, 2);
});

test('keep-alives between the parts do not disturb', async () => {
  const { message, errors } = await ask('pausing');
  assert.deepEqual(errors, []);
  assert.equal(message.metadata.finishReason, 'Stop');
});

test('citations are sources', async () => {
  const { message } = await ask('cited');
  assert.equal(parts(message, 'source-url')[0].url, 'https://example.com/rome');
});

test('a refusal and a limit are finish reasons', async () => {
  assert.equal((await ask('refusal')).message.metadata.finishReason, 'ContentFilter');
  assert.equal((await ask('length')).message.metadata.finishReason, 'Length');
});

test('an error in the middle is told, and what was said stays', async () => {
  const { message, errors } = await ask('error');
  assert.equal(errors.length, 1);
  assert.ok(parts(message, 'text')[0].text.length > 0);
});

test('an error before the stream is raised', async () => {
  await assert.rejects(ask('down'), /provider_unavailable/);
});

test('after a reload the message is built again from its start, and can be stopped', async () => {
  const chatId = fresh();
  const chat = transport('slow');
  const abort = new AbortController();
  const left = await chat.sendMessages({
    chatId, messages: [user('Hello?')], trigger: 'submit-message', abortSignal: abort.signal,
  });
  const reader = left.getReader();
  for (let chunks = 0; chunks < 10; chunks += 1) await reader.read();
  abort.abort();
  await reader.cancel().catch(() => {});

  const again = await chat.reconnectToStream({ chatId });
  assert.ok(again, 'the stream runs');
  let message;
  let stopped;
  for await (const one of readUIMessageStream({ stream: again })) {
    message = one;
    if (!stopped && parts(one, 'text').length) {
      stopped = await fetch(`${api}/${chatId}/stop`, { method: 'POST', headers });
      assert.equal(stopped.status, 202);
    }
  }
  assert.equal(message.metadata.finishReason, 'Cancelled');
  assert.ok(message.parts.some((part) => part.type === 'text' && part.text.length > 0));
  assert.equal(await chat.reconnectToStream({ chatId }), null, 'nothing to resume: 204');
  assert.equal(await chat.reconnectToStream({ chatId: 'never-seen' }), null);
});
