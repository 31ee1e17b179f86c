import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventType, HttpAgent } from '@ag-ui/client';
import { EventSchema } from '@ag-ui/core/schemas';

import { cancel, headers, url, weather } from './world.mjs';

// Refused by the verifier inside HttpAgent: anything out of order, left open or malformed.
async function run(model, { tools = [], messages, onEvent } = {}) {
  const agent = new HttpAgent({ url: `${url}/v1/ag-ui`, headers, threadId: 'thread-1' });
  agent.setMessages(messages ?? [{ id: 'm1', role: 'user', content: 'Hello?' }]);
  const events = [];
  let failure;
  try {
    await agent.runAgent(
      { forwardedProps: { model }, tools },
      {
        onEvent: ({ event }) => {
          EventSchema.parse(event);
          events.push(event);
          onEvent?.(event, agent);
        },
        onRunFailed: ({ error }) => { failure = error; return { stopPropagation: true }; },
      },
    );
  } catch (error) {
    failure = error;
  }
  const said = (type) => events.filter((event) => event.type === type);
  return { agent, events, said, failure, last: events.at(-1) };
}

const joined = (events) => events.map((event) => event.delta).join('');

test('text is a message of the assistant', async () => {
  const { agent, said, last, failure } = await run('text');
  assert.equal(failure, undefined);
  assert.equal(joined(said(EventType.TEXT_MESSAGE_CONTENT)).split(' ').length, 8);
  assert.equal(agent.messages.at(-1).role, 'assistant');
  assert.equal(last.type, EventType.RUN_FINISHED);
  assert.equal(last.threadId, 'thread-1');
  assert.equal(last.outcome.type, 'success');
  assert.ok(last.usage[0].inputTokens > 0);
});

test('thinking is reasoning', async () => {
  const { said, failure } = await run('thinking');
  assert.equal(failure, undefined);
  assert.ok(joined(said(EventType.REASONING_MESSAGE_CONTENT)).length > 0);
});

test('calls are pending until their results are sent', async () => {
  const { name, description, parameters } = weather.function;
  const tools = [{ name, description, parameters }];
  const { agent, said, last } = await run('tools', { tools });
  assert.equal(said(EventType.TOOL_CALL_END).length, 2);
  assert.equal(last.outcome.pendingToolCallIds.length, 2);
  const calls = agent.messages.flatMap((message) => message.toolCalls ?? []);
  assert.equal(calls.length, 2);
  const results = calls.map((call, at) => ({
    id: `r${at}`, role: 'tool', toolCallId: call.id, content: '{"degrees":21}',
  }));
  const second = await run('text', { tools, messages: [...agent.messages, ...results] });
  assert.equal(second.failure, undefined);
  assert.equal(second.last.outcome.type, 'success');
});

test('keep-alives between the events do not disturb', async () => {
  const { last, failure } = await run('pausing');
  assert.equal(failure, undefined);
  assert.equal(last.type, EventType.RUN_FINISHED);
});

test('citations are custom events', async () => {
  const { said } = await run('cited');
  const [cited] = said(EventType.CUSTOM);
  assert.equal(cited.name, 'citation');
  assert.equal(cited.value.citation.source, 'https://example.com/rome');
});

test('a refusal and a limit are told in the result', async () => {
  assert.equal((await run('refusal')).last.result.finishReason, 'ContentFilter');
  assert.equal((await run('length')).last.result.finishReason, 'Length');
});

test('an error in the middle ends the run with RUN_ERROR', async () => {
  const { last, said } = await run('error');
  assert.equal(last.type, EventType.RUN_ERROR);
  assert.ok(last.code);
  assert.equal(said(EventType.TEXT_MESSAGE_END).length, 1);
});

test('an error before the stream is raised', async () => {
  const { failure } = await run('down');
  assert.match(String(failure), /503/);
});

test('a cancelled run says so', async () => {
  const agent = new HttpAgent({ url: `${url}/v1/ag-ui`, headers });
  let stream;
  agent.fetch = async (...request) => {
    const answer = await fetch(...request);
    stream = answer.headers.get('x-stream-id');
    return answer;
  };
  agent.setMessages([{ id: 'm1', role: 'user', content: 'Hello?' }]);
  let last;
  let asked = false;
  await agent.runAgent(
    { forwardedProps: { model: 'slow' } },
    {
      onEvent: ({ event }) => {
        last = event;
        if (!asked && event.type === EventType.TEXT_MESSAGE_CONTENT) {
          asked = true;
          cancel(stream);
        }
      },
    },
  );
  assert.equal(last.type, EventType.RUN_FINISHED);
  assert.equal(last.outcome.type, 'cancelled');
});

test('a running stream of another protocol can be followed', async () => {
  const started = await fetch(`${url}/v1/chat/stream`, {
    method: 'POST',
    headers: { ...headers, 'Content-Type': 'application/json' },
    body: JSON.stringify({ prompt: 'Hello?', model: 'text' }),
  });
  const stream = started.headers.get('x-stream-id');
  const agent = new HttpAgent({ url: `${url}/v1/streams/${stream}/events?protocol=ag-ui`, headers });
  agent.fetch = (address, { signal }) => fetch(address, { headers, signal });
  const seen = [];
  await agent.runAgent({}, { onEvent: ({ event }) => { seen.push(event.type); } });
  assert.equal(seen.at(-1), EventType.RUN_FINISHED);
});
