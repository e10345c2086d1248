// What the server's books say, with a peer that each test scripts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { listen } from './peer.js';

test('hooks are given with times where there are any', async (t) => {
  const server = await listen();
  t.after(() => server.close());
  const client = connect(server.url, { name: 'ada' });
  t.after(() => client.close());
  const peer = await server.welcome();
  const asked = client.hooks();
  const { ref } = await peer.expect('hooks');
  const common = { to: 'https://a.example', rooms: ['orders.**'], pending: 1, sent: 2, dead: 3, gone: false };
  peer.send({
    op: 'hooks', ref, hooks: [
      { hook: 'a', ...common, lag_ms: 4, last_success: '2026-11-22T07:00:00.123Z', failing_since: '2026-11-22T07:00:01Z', why: 'no' },
      { hook: 'b', ...common, lag_ms: 0 },
    ],
  });
  assert.deepEqual(await asked, [
    { hook: 'a', ...common, lag: 4, lastSuccess: new Date('2026-11-22T07:00:00.123Z'), failingSince: new Date('2026-11-22T07:00:01Z'), why: 'no' },
    { hook: 'b', ...common, lag: 0 },
  ]);
});
