// Tokens that end: what is asked for another one, when, and what goes on meanwhile.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { event, FakeSocket, listen } from './peer.js';

const turn = () => new Promise(setImmediate);

/** What looks like a token to who only reads its end. */
function tokenUntil(ms, user = 'ada') {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'HS256' })}.${part({ sub: user, exp: ms / 1000, name: 'Zoë ▲' })}.x`;
}

/** A client whose clock stands, and whose tokens live so many milliseconds. */
async function still(t, life, options = {}) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval', 'Date'], now: 1_800_000_000_000 });
  FakeSocket.made = [];
  const tokens = [];
  const client = connect('ws://host/ws', {
    WebSocket: FakeSocket,
    token: async () => {
      tokens.push(tokenUntil(Date.now() + life));
      return tokens.at(-1);
    },
    ...options,
  });
  t.after(() => client.close());
  await turn();
  const socket = () => FakeSocket.made.at(-1);
  const hellos = () => socket().sent.filter((f) => f.op === 'hello').map((f) => f.token);
  let answered = 0; // of what the socket was sent
  const tick = async (ms) => {
    for (let left = ms; left > 0; left -= 5_000) {
      t.mock.timers.tick(Math.min(left, 5_000));
      await turn();
      const pings = socket().sent.slice(answered).filter((f) => f.op === 'ping');
      answered = socket().sent.length;
      for (const { ref } of pings) socket().receive({ op: 'pong', ref });
    }
    for (let i = 0; i < 5; i++) await turn();
  };
  const answer = (fields) => socket().receive({ op: 'welcome', ref: socket().sent.at(-1).ref, user: 'ada', session: '00c0ffee00c0ffee', ...fields });
  return { client, tokens, socket, hellos, tick, answer };
}

test('a token is renewed on the same connection, at most a minute before it ends', async (t) => {
  for (const [jitter, left] of [[0, 30_000], [1, 60_000]]) {
    await t.test(`${left} ms before`, async (t) => {
      t.mock.method(Math, 'random', () => jitter);
      const { client, tokens, socket, hellos, tick, answer } = await still(t, 3_600_000);
      socket().welcome();
      const room = client.room('lobby');
      await turn();
      const joins = () => socket().sent.filter((f) => f.op === 'join').length;
      assert.equal(joins(), 1);
      for (let renewed = 1; renewed <= 3; renewed++) {
        await tick(3_600_000 - left - 1);
        assert.equal(hellos().length, renewed);
        await tick(1);
        assert.deepEqual(hellos(), tokens.slice(0, renewed + 1));
        answer();
      }
      assert.equal(FakeSocket.made.length, 1);
      assert.equal(joins(), 1);
      assert.equal(client.status, 'open');
      room.leave();
    });
  }
});

test('a short token is renewed in the last fifth of its life', async (t) => {
  t.mock.method(Math, 'random', () => 0.999_999);
  const { socket, hellos, tick } = await still(t, 10_000);
  socket().welcome();
  await tick(7_999);
  assert.equal(hellos().length, 1);
  await tick(2);
  assert.equal(hellos().length, 2);
});

test('a function that gives the same token again is not asked on and on', async (t) => {
  let calls = 0;
  const { socket, tick, answer } = await still(t, 0, { token: () => { calls++; return tokenUntil(1_800_000_010_000); } });
  socket().welcome();
  for (let i = 0; i < 100; i++) {
    await tick(100);
    if (socket().sent.at(-1).op === 'hello') answer();
  }
  assert.ok(calls <= 4, `it was asked ${calls} times in 10 s`);
});

test('tokens whose end is not known, or far off, are not renewed', async (t) => {
  for (const token of ['opaque', 'a.b.c', tokenUntil(NaN), tokenUntil(1_800_000_000_000 + 1e12), tokenUntil(1)]) {
    await t.test(token.slice(0, 20), async (t) => {
      const { socket, hellos, tick } = await still(t, 0, { token: async () => token });
      socket().welcome();
      await tick(3_600_000);
      assert.equal(hellos().length, 1);
    });
  }
});

test('a function that fails is asked again while the token is good', async (t) => {
  t.mock.method(Math, 'random', () => 0.999_999);
  let calls = 0;
  const { socket, client, hellos, tick } = await still(t, 0, {
    token: async () => {
      if (++calls === 2) throw new Error('no network');
      return tokenUntil(Date.now() + 600_000);
    },
  });
  socket().welcome();
  await tick(540_001);
  assert.equal(calls, 2);
  assert.equal(hellos().length, 1);
  await tick(250);
  assert.equal(hellos().length, 2);
  assert.equal(client.status, 'open');
});

test('a string that is no good any more ends the client, and says why', async (t) => {
  const server = await listen();
  t.after(() => server.close());
  const client = connect(server.url, { token: tokenUntil(Date.now() + 60_000) });
  t.after(() => client.close());
  const peer = await server.welcome({ user: 'ada' });
  await client.ready;
  const sent = client.room('lobby').send('x');
  const status = event(client, 'status');
  peer.send({ op: 'error', code: 'unauthorized', message: 'your token has ended' });
  peer.close(1008, 'unauthorized');
  const { status: now, error } = await status;
  assert.deepEqual([now, error.code, error.message], ['closed', 'unauthorized', 'your token has ended']);
  await assert.rejects(sent, { code: 'unknown' });
});

test('a function is asked again after unauthorized, and what was under way goes on', async (t) => {
  const server = await listen();
  t.after(() => server.close());
  let calls = 0;
  const client = connect(server.url, { token: () => `t${++calls}` });
  t.after(() => client.close());
  let peer = await server.welcome({ user: 'ada' });
  const sent = client.room('lobby').send('x', { id: 'one' });
  await peer.expect('join');
  await peer.expect('send');
  const offline = event(client, 'status');
  peer.send({ op: 'error', code: 'unauthorized', message: 'your token has ended' });
  peer.close(1008, 'unauthorized');
  const { status, error } = await offline;
  assert.deepEqual([status, error.code], ['offline', 'unauthorized']);
  client.retry();
  peer = await server.accept(); // refused once more, at the hello
  const { ref, token } = await peer.expect('hello');
  assert.equal(token, 't2');
  peer.send({ op: 'error', ref, code: 'unauthorized', message: 'revoked' });
  peer.close(1008, 'unauthorized');
  peer = await server.welcome({ user: 'ada' });
  assert.equal(peer.hello.token, 't3');
  await peer.expect('join');
  assert.equal((await peer.ack(7)).id, 'one');
  assert.equal((await sent).seq, 7);
});

test('a room that one may not be in any more is left, and no other', async (t) => {
  const server = await listen();
  t.after(() => server.close());
  const client = connect(server.url, { name: 'ada' });
  t.after(() => client.close());
  const peer = await server.welcome();
  const [ops, lobby] = [client.room('ops'), client.room('lobby')];
  await peer.joined(0);
  await peer.joined(0);
  const failed = event(ops, 'error');
  peer.send({ op: 'left', room: 'ops' });
  peer.send({ op: 'error', code: 'denied', message: 'you may not be in ops any more' });
  assert.equal((await failed).code, 'denied');
  assert.deepEqual(await ops[Symbol.asyncIterator]().next().catch((e) => e.code), 'denied');
  const heard = event(lobby, 'message');
  peer.message(3, 0);
  assert.equal((await heard).seq, 3);
  assert.equal(client.status, 'open');
});
