import assert from 'node:assert/strict';
import { test } from 'node:test';

import OpenAI from 'openai';

import { cancel, token, url, weather } from './world.mjs';

const client = new OpenAI({ apiKey: token, baseURL: `${url}/v1`, maxRetries: 0 });
const messages = [{ role: 'user', content: 'Hello?' }];

async function streamed(model, more = {}) {
  const stream = await client.chat.completions.create({ model, messages, stream: true, ...more });
  const said = { text: '', thinking: '', finish: null, usage: null, annotations: [], chunks: 0 };
  for await (const chunk of stream) {
    said.chunks += 1;
    said.usage = chunk.usage ?? said.usage;
    const [choice] = chunk.choices;
    if (!choice) continue;
    said.text += choice.delta.content ?? '';
    said.thinking += choice.delta.reasoning_content ?? '';
    said.annotations.push(...(choice.delta.annotations ?? []));
    said.finish = choice.finish_reason ?? said.finish;
  }
  return said;
}

test('text, streamed and whole, is the same', async () => {
  const said = await streamed('text', { stream_options: { include_usage: true } });
  assert.equal(said.finish, 'stop');
  assert.equal(said.text.split(' ').length, 8);
  assert.ok(said.usage.prompt_tokens > 0);
  const whole = await client.chat.completions.create({ model: 'text', messages });
  assert.equal(whole.choices[0].message.content, said.text);
  assert.deepEqual(whole.usage, said.usage);
});

test('thinking comes as reasoning_content', async () => {
  const said = await streamed('thinking');
  assert.ok(said.thinking.length > 0);
  assert.ok(said.text.length > 0);
});

test('the SDK accumulates calls, in parallel too', async () => {
  const runner = client.chat.completions.stream({ model: 'tools', messages, tools: [weather] });
  const final = await runner.finalChatCompletion();
  const calls = final.choices[0].message.tool_calls;
  assert.equal(final.choices[0].finish_reason, 'tool_calls');
  assert.equal(calls.length, 2);
  for (const call of calls) {
    assert.equal(call.function.name, 'get_weather');
    JSON.parse(call.function.arguments);
  }
  const whole = await client.chat.completions.create({ model: 'tools', messages, tools: [weather] });
  assert.equal(whole.choices[0].message.content, null);
  const after = await client.chat.completions.create({
    model: 'text',
    messages: [
      { role: 'system', content: 'Be kind.' },
      ...messages,
      whole.choices[0].message,
      ...whole.choices[0].message.tool_calls.map((call) => ({
        role: 'tool',
        tool_call_id: call.id,
        content: '{"degrees":21}',
      })),
    ],
    tools: [weather],
  });
  assert.equal(after.choices[0].finish_reason, 'stop');
});

test('citations are annotations', async () => {
  const said = await streamed('cited');
  assert.equal(said.annotations[0].url_citation.url, 'https://example.com/rome');
});

test('a refusal and a limit are finish reasons', async () => {
  assert.equal((await streamed('refusal')).finish, 'content_filter');
  assert.equal((await streamed('length')).finish, 'length');
});

test('an error in the middle is raised', async () => {
  await assert.rejects(streamed('error'), (error) => {
    assert.ok(error instanceof OpenAI.APIError);
    assert.equal(error.type, 'server_error');
    return true;
  });
});

test('errors before the stream keep their status and shape', async () => {
  const cases = [
    ['down', OpenAI.InternalServerError, 'provider_unavailable'],
    ['nowhere', OpenAI.NotFoundError, 'model_not_found'],
  ];
  for (const [model, kind, code] of cases) {
    await assert.rejects(streamed(model), (error) => error instanceof kind && error.code === code);
  }
  await assert.rejects(streamed('text', { n: 2 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, 'n');
    return true;
  });
  const stranger = new OpenAI({ apiKey: 'wrong', baseURL: `${url}/v1`, maxRetries: 0 });
  await assert.rejects(stranger.models.list(), OpenAI.AuthenticationError);
});

test('a cancelled stream ends, with what was said', async () => {
  const { data, response } = await client.chat.completions
    .create({ model: 'slow', messages, stream: true })
    .withResponse();
  let [text, last] = ['', null];
  for await (const chunk of data) {
    if (!text && chunk.choices[0].delta.content) cancel(response.headers.get('x-stream-id'));
    text += chunk.choices[0].delta.content ?? '';
    last = chunk.choices[0];
  }
  assert.ok(text.length > 0);
  assert.equal(last.finish_reason, 'stop');
  assert.equal(last.native_finish_reason, 'Cancelled');
});

test('models are listed', async () => {
  const page = await client.models.list();
  assert.equal(page.object, 'list');
  assert.ok(page.data.some((model) => model.id === 'text' && model.object === 'model'));
});
