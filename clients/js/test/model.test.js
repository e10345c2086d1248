// Whole conversations with a server whose connections are cut anywhere: in front of or behind any
// frame, either way. Whatever happens, what was sent is stored once and in order, and what is
// stored is read once and in order.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { take } from './peer.js';
import { model } from './model.js';

/** Numbers that are the same in each run. */
function random(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// Reconnecting is quick here: the jitter is another test's.
const jitter = Math.random;
const fast = (t) => {
  Math.random = () => 0.01;
  t.after(() => { Math.random = jitter; });
};

for (const seed of [1, 2, 3, 4, 5, 6]) {
  test(`cut anywhere, seed ${seed}`, async (t) => {
    fast(t);
    const next = random(seed);
    let calm = false;
    const server = await model({ cut: () => !calm && next() < 0.02 });
    const [ada, bob] = ['ada', 'bob'].map((name) => connect(server.url, { name }));
    t.after(async () => {
      ada.close();
      bob.close();
      await server.close();
    });
    const N = 150;
    const iterator = bob.room('lobby', { after: 0 })[Symbol.asyncIterator]();
    const mine = [];
    ada.room('lobby').on('message', (m) => mine.push(m.seq));
    const receipts = [];
    for (let i = 0; i < N; i++) {
      receipts.push(ada.room('lobby').send(`${i}`));
      if (i % 10 === 0) await receipts.at(-1);
      if (i % 50 === 0) server.post('lobby', 'aside');
    }
    const seqs = (await Promise.all(receipts)).map((r) => r.seq);
    const log = server.room('lobby').log;
    assert.deepEqual(log.filter((m) => m.from === 'ada').map((m) => m.body), Array.from({ length: N }, (_, i) => `${i}`));
    assert.deepEqual(log.filter((m) => m.from === 'ada').map((m) => m.seq), seqs);
    const read = await take(iterator, log.length);
    assert.deepEqual(read.map((m) => m.seq), log.map((m) => m.seq));
    calm = true;
    while (mine.at(-1) !== log.at(-1).seq) await new Promise((resolve) => setTimeout(resolve, 5));
    assert.deepEqual(mine, log.map((m) => m.seq).filter((seq) => seq >= mine[0]));
    assert.ok(server.counts.cuts > 3, `${server.counts.cuts} cuts`);
  });
}

// One cut, at each place in turn, of a conversation that has one of everything.
for (const place of ['in', 'done', 'before', 'after']) {
  test(`one cut, ${place === 'in' ? 'in front of' : place === 'done' ? 'behind' : place} each frame`, async (t) => {
    fast(t);
    for (let at = 0; at < 12; at++) {
      let count = 0;
      const server = await model({ cut: (where) => where === place && count++ === at });
      for (let i = 0; i < 3; i++) server.post('lobby', `old ${i}`);
      const client = connect(server.url, { name: 'ada' });
      const room = client.room('lobby', { after: 0 });
      const gaps = [];
      room.on('gap', (e) => gaps.push(e));
      const iterator = room[Symbol.asyncIterator]();
      const sent = [room.send('a'), room.send('b')];
      const page = room.history({ after: 0, limit: 3 });
      const receipts = await Promise.all(sent);
      assert.deepEqual((await take(iterator, 5)).map((m) => m.body), ['old 0', 'old 1', 'old 2', 'a', 'b'], `at ${at}`);
      assert.deepEqual(receipts.map((r) => r.seq), server.room('lobby').log.slice(3).map((m) => m.seq));
      assert.deepEqual((await page).messages.map((m) => m.body), ['old 0', 'old 1', 'old 2']);
      assert.deepEqual(gaps, []);
      client.close();
      await server.close();
    }
  });
}

test('a slow consumer of a fast room misses nothing, and is told of what was removed', async (t) => {
  fast(t);
  const server = await model({ retain: 2500 });
  const client = connect(server.url);
  t.after(async () => {
    client.close();
    await server.close();
  });
  const room = client.room('lobby', { after: 0 });
  const gaps = [];
  room.on('gap', (e) => gaps.push(e));
  const iterator = room[Symbol.asyncIterator]();
  await client.ready;
  for (let i = 0; i < 2000; i++) server.post('lobby', `${i}`);
  while (server.counts.leaves === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const first = await take(iterator, 2000);
  assert.deepEqual(first.map((m) => m.body), Array.from({ length: 2000 }, (_, i) => `${i}`));
  assert.deepEqual(gaps, []);

  const leaves = server.counts.leaves;
  for (let i = 2000; i < 4000; i++) server.post('lobby', `${i}`);
  while (server.counts.leaves === leaves) await new Promise((resolve) => setTimeout(resolve, 5));
  for (let i = 4000; i < 8000; i++) server.post('lobby', `${i}`);
  const second = await take(iterator, 1024 + 2500);
  assert.equal(second[1023].body, '3023');
  assert.equal(second[1024].body, '5500');
  assert.equal(second.at(-1).body, '7999');
  assert.deepEqual(gaps, [{ after: second[1023].seq, next: second[1024].seq }]);
});
