// Tokens against the real server: their end, another one in mid-session, and somebody whose access is revoked.

import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { event, take } from './peer.js';
import { options, parley } from './server.js';

const secret = '0123456789abcdef0123456789abcdef';

/** A token of somebody who may do everything, good for so many milliseconds. */
function token(sub, life) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const text = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({
    iss: 'https://id.example', aud: 'parley', sub, exp: (Date.now() + life) / 1000,
    parley: [{ rooms: '**', may: ['join', 'history', 'send', 'members', 'signal', 'admin'] }],
  })}`;
  return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`;
}

/** A server that takes such tokens, and no others. */
async function guarded(t) {
  const dir = await mkdtemp(join(tmpdir(), 'parley-js-'));
  t.after(() => rm(dir, { recursive: true, force: true }));
  await writeFile(join(dir, 'hs.key'), secret);
  await writeFile(join(dir, 'parley.yml'), `auth:
  issuer: https://id.example
  audience: parley
  keys: [{alg: HS256, secret_file: hs.key}]
`);
  return parley(t, '--config', join(dir, 'parley.yml'));
}

test('a token that ends, given as a string, ends the client', options, async (t) => {
  const server = await guarded(t);
  if (!server) return;
  const client = connect(server.url, { token: token('ada', 2_000) });
  t.after(() => client.close());
  assert.equal((await client.ready).user, 'ada');
  const { status, error } = await event(client, 'status').then(async (e) => (e.status === 'open' ? event(client, 'status') : e));
  assert.deepEqual([status, error.code], ['closed', 'unauthorized']);
});

test('with a function the session goes on beyond many tokens, and nothing is missed', options, async (t) => {
  const server = await guarded(t);
  if (!server) return;
  let asked = 0;
  const client = connect(server.url, { token: async () => { asked++; return token('ada', 9_000); } });
  const writer = connect(server.url, { token: token('bob', 60_000) });
  t.after(() => { client.close(); writer.close(); });
  const sessions = new Set();
  client.on('welcome', ({ session }) => sessions.add(session));
  const away = [];
  client.on('status', (e) => { if (e.status === 'offline') away.push(e); });
  const room = client.room('lobby', { after: 0 });
  const messages = take(room[Symbol.asyncIterator](), 60);
  await client.ready;
  for (let i = 1; i <= 60; i++) {
    await writer.room('lobby').send(`m${i}`);
    if (i % 10 === 0) await client.room('lobby').send(`n${i}`).catch((e) => assert.fail(e)); // own ones count too
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const got = (await messages).map((m) => m.body);
  assert.deepEqual(got.filter((b) => b.startsWith('m')), got.filter((b) => b.startsWith('m')).map((_, i) => `m${i + 1}`));
  assert.ok(asked >= 2, `only ${asked} tokens were asked for`);
  assert.deepEqual(away, []);
  assert.equal(sessions.size, 1, 'it was one session all along');
});

test('somebody revoked is out, and in again when that is taken back', options, async (t) => {
  const server = await guarded(t);
  if (!server) return;
  const admin = async (frame) => {
    const ws = new WebSocket(`${server.url.replace('http', 'ws')}/ws`, ['parley.v1']);
    await new Promise((resolve) => { ws.onopen = resolve; });
    const answer = (ref) => new Promise((resolve) => {
      ws.onmessage = ({ data }) => { const f = JSON.parse(data); if (f.ref === ref) resolve(f); };
    });
    ws.send(JSON.stringify({ op: 'hello', token: token('root', 60_000), ref: 1 }));
    assert.equal((await answer(1)).op, 'welcome');
    ws.send(JSON.stringify({ ...frame, ref: 2 }));
    assert.equal((await answer(2)).op, 'revoked');
    ws.close();
  };
  const fixed = connect(server.url, { token: token('ada', 60_000) });
  const fresh = connect(server.url, { token: () => token('ada', 60_000) });
  t.after(() => { fixed.close(); fresh.close(); });
  await Promise.all([fixed.ready, fresh.ready]);
  const closed = event(fixed, 'status');
  const offline = event(fresh, 'status');
  await admin({ op: 'revoke', user: 'ada' });
  assert.deepEqual([(await closed).status, (await closed).error.code], ['closed', 'unauthorized']);
  assert.deepEqual([(await offline).status, (await offline).error.code], ['offline', 'unauthorized']);
  const sent = fresh.room('lobby').send('patience');
  await admin({ op: 'revoke', user: 'ada', lift: true });
  assert.ok((await sent).seq > 0);
});
