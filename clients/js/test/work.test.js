// Jobs, questions and readers over links that come and go, with a peer that each test scripts.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { event, FakeSocket, LIMITS, listen } from './peer.js';

async function scripted(t) {
  const server = await listen();
  const client = connect(server.url, { name: 'ada' });
  t.after(async () => {
    client.close();
    await server.close();
  });
  return { server, client, room: client.room('orders', { join: false }) };
}

/** Reads an operation of a duty, and answers it. */
async function reply(peer, op, answer, more = {}) {
  const frame = await peer.expect(op);
  peer.send({ op: answer, ref: frame.ref, room: 'orders', ...more });
  return frame;
}

function give(peer, job, more = {}) {
  peer.send({
    op: 'job', group: 'g', job, tries: 1, deadline_ms: 30_000, room: 'orders', seq: 1, prev: 0, id: 'x', from: 'bob',
    at: '2026-11-22T07:00:00.123Z', type: 'text', body: job, ...more,
  });
}

/** A handler that is through when the test says so. */
function held() {
  const jobs = [];
  const waiting = [];
  return {
    handler: (job, { signal }) => new Promise((resolve, reject) => {
      const one = { job, signal, resolve, reject };
      if (waiting.length > 0) waiting.shift()(one);
      else jobs.push(one);
    }),
    next: () => (jobs.length > 0 ? Promise.resolve(jobs.shift()) : new Promise((resolve) => waiting.push(resolve))),
  };
}

test('on a new link it takes again, behind the outcome of what it was at; what was not begun is dropped', async (t) => {
  const { server, room } = await scripted(t);
  const { handler, next } = held();
  room.work('g', handler, { parallel: 2, prefetch: 3, deadline: '10s', tries: 7, since: new Date(0) });
  const first = await server.welcome();
  const take = await reply(first, 'take', 'taking', { group: 'g' });
  assert.deepEqual({ ...take, ref: 0 }, {
    op: 'take', room: 'orders', group: 'g', prefetch: 3, parallel: 2, tries: 7, deadline: '10s', since: '1970-01-01T00:00:00.000Z', ref: 0,
  });
  give(first, 'a');
  give(first, 'b');
  (await next()).resolve();
  assert.equal((await first.expect('done')).job, 'a');
  const begun = await next();
  give(first, 'c'); // never begun
  first.cut();
  const second = await server.welcome();
  await reply(second, 'done', 'ack', { seq: 1 }); // of a: its answer was lost
  await reply(second, 'take', 'taking', { group: 'g' });
  give(second, 'd');
  begun.resolve();
  assert.equal((await reply(second, 'done', 'ack', { seq: 1 })).job, 'b');
  assert.equal((await next()).job.job, 'd');
});

test('a refusal for now is asked again, of a take and of an outcome; one for good ends the work', async (t) => {
  const { server, client, room } = await scripted(t);
  const service = room.work('g', () => {});
  const peer = await server.welcome();
  await reply(peer, 'take', 'error', { code: 'unavailable', message: 'not now', retry_ms: 1 });
  await reply(peer, 'take', 'taking', { group: 'g' });
  give(peer, 'a');
  await reply(peer, 'done', 'error', { code: 'unavailable', message: 'not now', retry_ms: 1 });
  assert.equal((await reply(peer, 'done', 'ack', { seq: 1 })).job, 'a');
  const lost = event(service, 'lost');
  give(peer, 'b');
  await reply(peer, 'done', 'error', { code: 'conflict', message: 'it is another worker\'s' });
  const { job, error } = await lost;
  assert.deepEqual([job.job, error.code], ['b', 'conflict']);
  assert.throws(() => room.work('g', () => {}), { code: 'conflict' });
  assert.throws(() => room.work('h', () => {}, { parallel: 0 }), { code: 'bad_request' });

  const refused = room.work('h', () => {});
  await reply(peer, 'take', 'error', { code: 'denied', message: 'you may not' });
  await assert.rejects(refused.ended, { code: 'denied' });
  const again = room.work('h', () => {}); // nobody does that any more
  await reply(peer, 'take', 'taking', { group: 'h' });
  client.close();
  await Promise.all([service.ended, again.ended]);
});

test('stopped, it gives back what was not begun, which is no try, and ends when the rest is through', async (t) => {
  const { server, room } = await scripted(t);
  const { handler, next } = held();
  const stop = new AbortController();
  const service = room.work('g', handler, { prefetch: 3, tries: 2, signal: stop.signal });
  const peer = await server.welcome();
  await reply(peer, 'take', 'taking', { group: 'g' });
  give(peer, 'a');
  give(peer, 'b');
  give(peer, 'c', { tries: 2 });
  const a = await next();
  room.work('h', () => {});
  await reply(peer, 'take', 'taking', { group: 'h' }); // by then the others have come
  stop.abort();
  const stopping = await peer.expect('stop');
  assert.equal((await reply(peer, 'release', 'ack', { seq: 1 })).job, 'b');
  assert.equal((await reply(peer, 'release', 'ack', { seq: 1 })).job, 'c'); // its last try, which it has yet
  give(peer, 'd'); // it was on its way
  assert.equal((await reply(peer, 'release', 'ack', { seq: 1 })).job, 'd');
  let ended = false;
  const end = service.ended.then(() => { ended = true; });
  peer.send({ op: 'stopped', ref: stopping.ref, room: 'orders', group: 'g' });
  await new Promise(setImmediate);
  assert.equal(ended, false);
  a.reject(new Error('no'));
  const last = await reply(peer, 'retry', 'ack', { seq: 1 });
  assert.deepEqual([last.job, last.reason, 'delay' in last], ['a', 'no', false]);
  await end;
});

test('busy is said while a handler runs, and a job that is another\'s aborts it', async (t) => {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  FakeSocket.made = [];
  const client = connect('ws://host/ws', { WebSocket: FakeSocket });
  t.after(() => client.close());
  const turn = () => new Promise(setImmediate);
  const { handler, next } = held();
  client.room('orders', { join: false }).work('g', handler);
  await turn();
  const [socket] = FakeSocket.made;
  socket.welcome(LIMITS);
  await turn();
  const frame = { op: 'job', group: 'g', job: 'a', tries: 1, deadline_ms: 3_000, room: 'orders', seq: 1, prev: 0, id: 'x', from: 'bob', type: 'text', body: 'x' };
  socket.receive({ ...frame, at: '2026-11-22T07:00:00.123Z' });
  const { signal, resolve } = await next();
  const busy = () => socket.sent.filter((f) => f.op === 'busy');
  t.mock.timers.tick(999);
  assert.equal(busy().length, 0);
  t.mock.timers.tick(1_001);
  assert.equal(busy().length, 1); // one at a time
  socket.receive({ op: 'busy', ref: busy()[0].ref, room: 'orders', job: 'a', deadline_ms: 3_000 });
  await turn();
  t.mock.timers.tick(1_000);
  socket.receive({ op: 'error', ref: busy()[1].ref, code: 'conflict', message: 'it is another worker\'s' });
  await turn();
  assert.deepEqual([signal.aborted, signal.reason.code], [true, 'conflict']);
  t.mock.timers.tick(10_000);
  assert.equal(busy().length, 2);
  resolve();
});

test('an ask ends with its link, and is not asked twice; one that waits for a link is', async (t) => {
  const { server, room } = await scripted(t);
  const early = room.ask('first'); // there is no link yet
  const peer = await server.welcome();
  const asked = await peer.expect('ask');
  assert.deepEqual({ ...asked, ref: 0 }, { op: 'ask', room: 'orders', body: 'first', most: 1, timeout: '5000ms', ref: 0 });
  peer.send({ op: 'answer', ref: asked.ref, room: 'orders', from: 'bob', type: 'binary', body: 'AP8=' });
  peer.send({ op: 'answered', ref: asked.ref, room: 'orders', count: 1 });
  assert.deepEqual(await early, { room: 'orders', from: 'bob', type: 'binary', body: new Uint8Array([0, 255]) });
  const all = room.askAll('second', { most: 2 });
  const again = await peer.expect('ask');
  peer.send({ op: 'answer', ref: again.ref, room: 'orders', from: 'bob', type: 'text', body: 'one' });
  peer.cut();
  await assert.rejects(all, { code: 'lost' });
  const next = await server.welcome();
  room.answer(() => 'x');
  await next.expect('serve'); // and no ask before it
});

test('no more asks are in flight than half of what the server takes, and the others follow', async (t) => {
  const { server, room } = await scripted(t);
  const peer = await server.accept();
  await peer.welcome({ limits: { ...LIMITS, inflight: 4 } });
  const answers = [1, 2, 3].map((n) => room.ask(`${n}`));
  const [one, two] = [await peer.expect('ask'), await peer.expect('ask')];
  room.answer(() => 'x');
  await reply(peer, 'serve', 'serving');
  peer.send({ op: 'error', ref: two.ref, code: 'no_responders', message: 'nobody' });
  await assert.rejects(answers[1], { code: 'no_responders' });
  const three = await peer.expect('ask');
  for (const { ref, body } of [three, one]) {
    peer.send({ op: 'answer', ref, room: 'orders', from: 'bob', type: 'text', body });
    peer.send({ op: 'answered', ref, room: 'orders', count: 1 });
  }
  assert.deepEqual([(await answers[0]).body, (await answers[2]).body], ['1', '3']);
});

test('a reader says done of what its loop is through with, and joins behind what it has got', async (t) => {
  const { server, client } = await scripted(t);
  const iterator = client.room('lobby', { reader: 'billing', after: 0 })[Symbol.asyncIterator]();
  const peer = await server.welcome();
  const { reader, after } = await peer.joined(12);
  assert.deepEqual([reader, after], ['billing', 0]);
  peer.send({ op: 'gap', room: 'lobby', after: 3, next: 10 });
  peer.message(11, 10);
  peer.message(12, 11);
  assert.equal((await iterator.next()).value.seq, 11);
  assert.equal((await iterator.next()).value.seq, 12);
  const done = await peer.expect('done');
  assert.deepEqual({ ...done, ref: 0 }, { op: 'done', room: 'lobby', reader: 'billing', seq: 11, ref: 0 });
  peer.cut();
  const next = await server.welcome();
  const join = await next.joined(12);
  assert.deepEqual([join.after, join.reader], [12, undefined]); // the server's position is behind it
  const again = await next.expect('done');
  assert.equal(again.seq, 11);
  let ended = false;
  const end = iterator.return().then(() => { ended = true; });
  await next.expect('leave');
  assert.equal(ended, false);
  next.send({ op: 'ack', ref: again.ref, room: 'lobby', seq: 11 });
  await end;
});

test('two loops on one reader: nothing that one is still at is said to be done', async (t) => {
  const { server, client } = await scripted(t);
  const room = client.room('lobby', { reader: 'billing' });
  const [slow, fast] = [room[Symbol.asyncIterator](), room[Symbol.asyncIterator]()];
  const peer = await server.welcome();
  await peer.joined(0);
  for (const seq of [5, 7, 9]) peer.message(seq, seq - 2);
  assert.equal((await slow.next()).value.seq, 5);
  assert.equal((await fast.next()).value.seq, 7);
  assert.equal((await fast.next()).value.seq, 9);
  const first = await peer.expect('done');
  assert.equal(first.seq, 4); // 5 is at work
  peer.send({ op: 'ack', ref: first.ref, room: 'lobby', seq: 4 });
  slow.next();
  assert.equal((await peer.expect('done')).seq, 8);
});

test('a room that is not joined sends no join, and cannot be read', async (t) => {
  const { server, room } = await scripted(t);
  const receipt = room.send('x', { delay: 1_500, ttl: '2m', key: 'k', priority: 3 });
  const peer = await server.welcome();
  const sent = await peer.ack(0);
  assert.deepEqual({ ...sent, id: 0, ref: 0 }, {
    op: 'send', room: 'orders', body: 'x', id: 0, delay: '1500ms', ttl: '2m', key: 'k', priority: 3, ref: 0,
  });
  assert.equal((await receipt).seq, 0);
  await assert.rejects(room[Symbol.asyncIterator]().next(), { code: 'bad_request' });
  assert.equal(room.signal('x'), false);
});
