// What every test here needs to know of the server it talks to; the Python side starts both.
import assert from 'node:assert/strict';

export const url = process.env.TELLSTREAM_URL;
export const token = process.env.TELLSTREAM_TOKEN;
assert.ok(url && token, 'run by tests/clients/test_official_clients.py');

export const authorization = { Authorization: `Bearer ${token}` };
export const headers = { ...authorization, 'X-Tenant': '1' };

export const weather = {
  type: 'function',
  function: {
    name: 'get_weather',
    description: 'Tells the weather.',
    parameters: { type: 'object', properties: { city: { type: 'string' } } },
  },
};

export async function cancel(streamId) {
  const answer = await fetch(`${url}/v1/streams/${streamId}/cancel`, { method: 'POST', headers });
  assert.equal(answer.status, 202);
}
