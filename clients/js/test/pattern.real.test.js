// Patterns, against the real server, killed under the client's feet.

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

test('a pattern is read through crashes: each room in its order, each message once; and goes on behind a cursor', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob] = [client(t, server, 'ada'), client(t, server, 'bob')];
  const orders = bob.room('orders.**');
  const cursors = [];
  let read = 0;
  orders.on('message', () => read++);
  orders.on('cursor', ({ cursor }) => cursors.push({ cursor, read }));
  assert.equal(bob.room('orders.**'), orders);
  const iterator = orders[Symbol.asyncIterator]();
  await Promise.all([ada.ready, event(orders, 'joined')]);
  const N = 900;
  const sent = [];
  for (let part = 0; part < 3; part++) {
    for (let i = 0; i < N / 3; i++) {
      const n = sent.length;
      sent.push(ada.room(`orders.r${n % 5}.new`, { echo: false }).send({ n }));
      if (n % 10 === 0) ada.room('others').send('not theirs');
    }
    if (part === 2) break;
    await sent[part * (N / 3) + 20]; // in the midst of it
    await server.stop('SIGKILL');
    await server.start();
  }
  await Promise.all(sent);
  const got = await take(iterator, N);
  const byRoom = new Map();
  for (const m of got) byRoom.set(m.room, [...byRoom.get(m.room) ?? [], m.body.n]);
  for (let r = 0; r < 5; r++) {
    const want = Array.from({ length: N / 5 }, (_, i) => i * 5 + r);
    assert.deepEqual(byRoom.get(`orders.r${r}.new`), want);
  }
  assert.ok(cursors.length > 0);
  const { cursor, read: before } = cursors[Math.floor(cursors.length / 2)];
  const again = await take(client(t, server, 'eve').room('orders.**', { cursor })[Symbol.asyncIterator](), N - before);
  const key = (m) => `${m.room} ${m.seq}`;
  assert.deepEqual(again.map(key).sort(), got.slice(before).map(key).sort());
});

test('a pattern beside a room that it covers, left and closed', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const ada = client(t, server, 'ada');
  const [room, pattern, own] = [ada.room('a.x'), ada.room('a.*'), ada.room('*.x', { echo: false })];
  const seen = [];
  for (const [name, r] of Object.entries({ room, pattern, own })) r.on('message', (m) => seen.push(`${name} ${m.room} ${m.body}`));
  await Promise.all([room, pattern, own].map((r) => event(r, 'joined')));
  const bob = client(t, server, 'bob');
  await room.send('mine');
  await bob.room('a.y').send('other');
  await bob.room('a.x').send('last');
  while (seen.length < 6) await new Promise((resolve) => { setTimeout(resolve, 5); });
  assert.deepEqual(seen.sort(), [
    'own a.x last', 'pattern a.x last', 'pattern a.x mine', 'pattern a.y other', 'room a.x last', 'room a.x mine',
  ]);
  pattern.leave();
  assert.notEqual(ada.room('a.*'), pattern);
  await assert.rejects(ada.room('a.*').send('x'), { code: 'bad_request' });
  await assert.rejects(take(ada.room('b.*', { last: 5 })[Symbol.asyncIterator](), 1), { code: 'bad_request' });
});
