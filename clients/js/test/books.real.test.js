// Groups and readers are listed and removed, by the real server.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { options, parley } from './server.js';

test('groups are listed and removed', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const client = connect(server.url, { name: 'ada' });
  t.after(() => client.close());
  const room = client.room('squares', { join: false });
  assert.deepEqual(await room.groups(), []);
  await room.send('one');
  let finish;
  const done = new Promise((resolve) => { finish = resolve; });
  let work;
  await new Promise((resolve) => {
    work = room.work('g', () => {
      resolve();
      return done;
    });
  });
  assert.deepEqual(await room.groups(), [{ group: 'g', pending: 1, taken: 1, dead: 0, sessions: 1 }]);
  await assert.rejects(room.removeGroup('g'), { code: 'conflict' });
  finish();
  await work.stop();
  await client.ping();
  assert.deepEqual(await room.groups(), [{ group: 'g', pending: 0, taken: 0, dead: 0, sessions: 0 }]);
  await room.removeGroup('g');
  assert.deepEqual(await room.groups(), []);
});

test('readers are listed and removed', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const client = connect(server.url, { name: 'ada' });
  t.after(() => client.close());
  const room = client.room('orders', { reader: 'billing', after: 0, autoDone: false });
  const { seq } = await room.send('a book');
  for await (const m of room) {
    assert.equal(await room.done(m.seq), seq);
    assert.deepEqual(await room.readers(), { readers: [{ reader: 'billing', seq }], more: false });
    await assert.rejects(room.removeReader('billing'), { code: 'conflict' });
    break; // which leaves
  }
  await client.ping();
  await room.removeReader('billing');
  assert.deepEqual(await room.readers({ after: 'a', limit: 5 }), { readers: [], more: false });
  await assert.rejects(room.removeReader('billing'), { code: 'not_found' });
  await assert.rejects(room.removeGroup('none'), { code: 'not_found' });
  assert.deepEqual(await client.hooks(), []);
});
