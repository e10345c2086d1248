// The same promises, kept by the real server, killed and restarted under the client's feet. It runs
// where PARLEY_BINARY names a parley; js_test.go builds one.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { event, take } from './peer.js';
import { options, parley } from './server.js';

function client(t, server, name) {
  const made = connect(server.url, { name });
  t.after(() => made.close());
  return made;
}

test('killed and restarted: every message is stored once, in order, and read once, in order', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob] = [client(t, server, 'ada'), client(t, server, 'bob')];
  const caughtup = [];
  const room = bob.room('lobby', { after: 0 });
  room.on('caughtup', (e) => caughtup.push(e.messages));
  const gaps = [];
  room.on('gap', (e) => gaps.push(e));
  const iterator = room[Symbol.asyncIterator]();
  const N = 900;
  const sent = [];
  const lobby = ada.room('lobby', { echo: false });
  await Promise.all([ada.ready, event(room, 'joined')]);
  for (let part = 0; part < 3; part++) {
    for (let i = 0; i < N / 3; i++) sent.push(lobby.send({ n: sent.length }));
    if (part === 2) break;
    await sent[part * (N / 3) + 20]; // in the midst of it
    await server.stop('SIGKILL');
    await server.start();
  }
  const receipts = await Promise.all(sent);
  const read = await take(iterator, N);
  assert.deepEqual(read.map((m) => m.body.n), Array.from({ length: N }, (_, i) => i));
  assert.deepEqual(read.map((m) => m.seq), receipts.map((r) => r.seq));
  assert.deepEqual(read.map((m) => m.id), receipts.map((r) => r.id));
  assert.deepEqual(gaps, []);
  iterator.next(); // to what stands behind the last message
  assert.ok(caughtup.length === 1 || caughtup.length === 2, `${caughtup}`); // it may sleep through a whole life of the server's

  const pages = [];
  for (let after = 0; ;) {
    const { messages, more } = await room.history({ after, limit: 400 });
    pages.push(...messages);
    if (!more) break;
    after = messages.at(-1).seq;
  }
  assert.deepEqual(pages, read);
});

test('told to go, a server has its clients come back, to what was removed meanwhile too', options, async (t) => {
  const server = await parley(t, '--retain-messages', '10');
  if (!server) return;
  const [ada, bob] = [client(t, server, 'ada'), client(t, server, 'bob')];
  const first = ada.room('lobby');
  const { seq } = await first.send('first');
  const late = bob.room('lobby', { after: seq });
  const gaps = [];
  late.on('gap', (e) => gaps.push(e));
  await event(late, 'joined');
  const offline = event(bob, 'status');
  await server.stop('SIGTERM');
  assert.equal((await offline).status, 'offline');
  late.leave();
  await server.start();
  const sent = await Promise.all(Array.from({ length: 30 }, (_, i) => first.send(new Uint8Array([i]))));
  const again = bob.room('lobby', { after: seq });
  again.on('gap', (e) => gaps.push(e));
  const read = await take(again[Symbol.asyncIterator](), 10);
  assert.deepEqual(read.map((m) => m.body), Array.from({ length: 10 }, (_, i) => new Uint8Array([20 + i])));
  assert.deepEqual(gaps, [{ after: seq, next: sent[20].seq }]);
});

test('questions, presence and signals', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob] = [client(t, server, 'ada'), client(t, server, 'bob')];
  assert.equal((await ada.ready).user, 'ada');
  assert.ok(await ada.ping() > 0);
  const mine = ada.room('ops.größe', { presence: true });
  const { members, count } = await event(mine, 'joined');
  assert.deepEqual([members, count], [[{ user: 'ada' }], 1]);
  const presence = event(mine, 'presence');
  const theirs = bob.room('ops.größe');
  await event(theirs, 'joined');
  assert.deepEqual(await presence, { joined: [{ user: 'bob' }], left: [], count: 2 });
  const signal = event(theirs, 'signal');
  assert.ok(mine.signal({ typing: true }));
  assert.deepEqual(await signal, { from: 'ada', body: { typing: true } });
  assert.equal((await mine.members()).count, 2);
  assert.equal((await ada.rooms()).rooms[0].room, 'ops.größe');
  const { seq, id } = await mine.send('once', { id: 'k-1' });
  assert.deepEqual(await mine.send('once', { id: 'k-1' }), { room: 'ops.größe', seq, id, duplicate: true });
  const renamed = event(mine, 'presence');
  assert.equal(await bob.rename('robert'), 'robert');
  assert.deepEqual((await renamed).joined, [{ user: 'robert' }]);
  await assert.rejects(mine.send('x'.repeat(70_000)), { code: 'too_large' });
  await assert.rejects(ada.room('no such name!').history(), { code: 'bad_request' });
  for await (const m of ada.room('ops.größe')) {
    assert.equal(m.body, 'once');
    break;
  }
});
