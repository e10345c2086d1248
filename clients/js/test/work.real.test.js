// Jobs, questions and readers against the real server: no job is lost, whoever is killed.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createConnection, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { connect, Fail, Retry } from '../parley.js';
import { event, take } from './peer.js';
import { options, parley } from './server.js';

function client(t, server, name) {
  const made = connect(server.url, { name });
  t.after(() => made.close());
  return made;
}

/** Resolves when check is true, which it may become whenever changed is called. */
function condition(check) {
  let resolve;
  const met = new Promise((yes) => { resolve = yes; });
  return { met, changed: () => { if (check()) resolve(); } };
}

/** A way to the server that can be cut: all connections on it end, without a word. */
async function cuttable(t, server) {
  const sockets = new Set();
  const keep = (socket) => {
    sockets.add(socket);
    socket.on('error', () => {}).on('close', () => sockets.delete(socket));
  };
  const proxy = createServer((near) => {
    const far = createConnection(Number(new URL(server.url).port), '127.0.0.1');
    for (const socket of [near, far]) keep(socket);
    near.pipe(far).on('close', () => near.destroy());
    far.pipe(near).on('close', () => far.destroy());
  });
  proxy.listen(0, '127.0.0.1');
  await once(proxy, 'listening');
  const cut = () => { for (const socket of sockets) socket.destroy(); };
  t.after(() => {
    cut();
    proxy.close();
  });
  return { url: `http://127.0.0.1:${proxy.address().port}`, cut };
}

/** The jobs of a room that are left to a group. */
async function left(t, server, room, group) {
  const probe = client(t, server, 'probe');
  const jobs = [];
  let mark;
  const seen = condition(() => mark && jobs.includes(mark.seq));
  const service = probe.room(room, { join: false }).work(group, (job) => {
    jobs.push(job.seq);
    seen.changed();
  }, { parallel: 256 });
  mark = await probe.room(room, { join: false }).send('mark');
  seen.changed(); // it may have come before its ack
  await seen.met;
  await service.stop();
  return jobs.filter((seq) => seq !== mark.seq);
}

test('two workers, one killed in the midst of its jobs: each job is done, and none is lost', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const ada = client(t, server, 'ada');
  const numbers = ada.room('numbers', { join: false });
  const N = 200;
  const receipts = await Promise.all(Array.from({ length: N }, (_, i) => numbers.send(i, { type: 'json' })));

  const doomed = spawn(process.execPath, [fileURLToPath(new URL('worker.js', import.meta.url)), server.url, '20'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  t.after(() => doomed.kill('SIGKILL'));
  const stuck = [];
  for await (const line of createInterface({ input: doomed.stdout })) {
    if (line.startsWith('stuck') && stuck.push(Number(line.slice(6))) === 2) break; // all that it may hold
  }
  const done = new Map();
  const all = condition(() => done.size + 20 >= N);
  const again = [];
  const service = ada.room('numbers', { join: false }).work('g', (job) => {
    if (job.tries > 1) again.push(job.seq);
    done.set(job.seq, job.body ** 2);
    all.changed();
  }, { parallel: 4 });
  doomed.kill('SIGKILL');
  await once(doomed, 'exit');
  doomed.stdout.destroy();
  await all.met;
  await service.stop();

  const results = await ada.room('results').history({ after: 0, limit: 1000 });
  for (const { body } of results.messages) done.set(body.seq, body.square);
  assert.deepEqual([...done].sort(([a], [b]) => a - b), receipts.map(({ seq }, i) => [seq, i ** 2]));
  for (const seq of stuck) assert.ok(again.includes(seq), `${seq} was given out again`);
  assert.deepEqual(await left(t, server, 'numbers', 'g'), []);
  assert.deepEqual((await ada.room('numbers.dead', { join: false }).history()).messages, []);
});

test('the server killed in the midst of the work: each job is done, and none is left', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob, eve] = ['ada', 'bob', 'eve'].map((name) => client(t, server, name));
  const orders = ada.room('orders', { join: false });
  const N = 300;
  const done = new Map();
  const all = condition(() => done.size === N);
  const half = condition(() => done.size >= N / 3);
  const services = [bob, eve].map((worker) => worker.room('orders', { join: false }).work('billing', async (job) => {
    await worker.ping().catch(() => {}); // something that takes a while
    done.set(job.seq, job.body);
    half.changed();
    all.changed();
  }, { parallel: 8 }));
  const sent = Array.from({ length: N }, (_, i) => orders.send(`order ${i}`));
  await half.met;
  await server.stop('SIGKILL');
  await server.start();
  const receipts = await Promise.all(sent);
  await all.met;
  await Promise.all(services.map((service) => service.stop()));
  assert.deepEqual(receipts.map(({ seq }) => done.get(seq)), receipts.map((_, i) => `order ${i}`));
  assert.deepEqual(await left(t, server, 'orders', 'billing'), []);
});

test('connections cut again and again under jobs: each job is done, and none is left', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const way = await cuttable(t, server);
  const ada = client(t, server, 'ada');
  const worker = client(t, way, 'worker');
  const orders = ada.room('orders', { join: false });
  const N = 400;
  const receipts = await Promise.all(Array.from({ length: N }, (_, i) => orders.send(`order ${i}`)));
  const done = new Map();
  const lost = [];
  const all = condition(() => done.size === N);
  const service = worker.room('orders', { join: false }).work('g', (job) => {
    done.set(job.seq, job.body);
    if (done.size % 50 === 0) way.cut();
    all.changed();
  }, { parallel: 8, prefetch: 16, tries: 100 });
  service.on('lost', ({ error }) => lost.push(error.code));
  await all.met;
  await service.stop();
  assert.deepEqual(receipts.map(({ seq }) => done.get(seq)), receipts.map((_, i) => `order ${i}`));
  assert.ok(lost.every((code) => code === 'conflict' || code === 'not_found'), `${lost}`); // done, and given out again meanwhile
  assert.deepEqual(await left(t, server, 'orders', 'g'), []);
});

test('what a handler throws is tried again, or a dead letter; what is sent says when, for how long and in what order', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const ada = client(t, server, 'ada');
  const orders = ada.room('orders', { join: false });
  const dead = ada.room('orders.dead', { after: 0 });
  const took = [];
  await orders.send('too old', { ttl: 1 });
  const { seq } = await orders.send('late', { delay: 300, id: 'late-1' });
  assert.equal(seq, 0);
  await orders.send('due', { due: new Date(Date.now() + 300) });
  for (const n of [1, 2, 3]) await orders.send(`keyed ${n}`, { key: 'k' });
  await orders.send('bad');
  await orders.send('worse');
  await orders.send('first', { priority: 9 });
  await assert.rejects(orders.send('no', { priority: 10 }), { code: 'bad_request' });
  const all = condition(() => took.filter(([, tries]) => tries > 0).length === 11);
  const service = orders.work('g', (job) => {
    took.push([job.body, job.tries]);
    all.changed();
    if (job.body === 'bad') throw new Fail('no good');
    if (job.body === 'worse') throw { fail: 'x'.repeat(2_000) };
    if (job.body === 'keyed 1' && job.tries === 1) throw new Retry('not yet', '50ms');
    if (job.body === 'keyed 2' && job.tries < 3) throw Object.assign(new Error('not yet'), { delay: 10 });
  });
  await all.met;
  await service.stop();
  assert.equal(took[0][0], 'first');
  assert.deepEqual(took.filter(([body]) => body.startsWith('keyed')),
    [['keyed 1', 1], ['keyed 1', 2], ['keyed 2', 1], ['keyed 2', 2], ['keyed 2', 3], ['keyed 3', 1]]);
  assert.ok(['late', 'due', 'bad', 'worse'].every((body) => took.some(([one]) => one === body)));
  assert.ok(!took.some(([body]) => body === 'too old'));
  const letters = await take(dead[Symbol.asyncIterator](), 2);
  assert.deepEqual(letters.map((m) => [m.body.body, m.body.reason]).sort(), [['bad', 'no good'], ['worse', 'x'.repeat(1_024)]]);
  assert.deepEqual(await left(t, server, 'orders', 'g'), []);
});

test('a handler that takes longer than its deadline keeps its job, and is told when the client is closed', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob] = [client(t, server, 'ada'), client(t, server, 'bob')];
  const room = ada.room('slow', { join: false });
  await room.send('one');
  const tries = [];
  let begun;
  const started = new Promise((resolve) => { begun = resolve; });
  let finish;
  const finished = new Promise((resolve) => { finish = resolve; });
  const service = room.work('g', async (job) => {
    tries.push(job.tries);
    begun();
    await finished;
  }, { deadline: 4_000 });
  await started;
  const others = bob.room('slow', { join: false }).work('g', (job) => { tries.push(job.tries); });
  const away = bob.room('elsewhere', { after: 0 });
  // Beyond the deadline, by the server's own clock: a message that is due then.
  await ada.room('elsewhere', { join: false }).send('tick', { delay: 6_000 });
  await take(away[Symbol.asyncIterator](), 1);
  assert.deepEqual(tries, [1]);
  finish();
  await service.stop();
  await others.stop();
  assert.deepEqual(tries, [1]);

  await room.send('two');
  let aborted;
  const told = new Promise((resolve) => { aborted = resolve; });
  const closed = room.work('g', (job, { signal }) => new Promise(() => {
    signal.addEventListener('abort', () => aborted(signal.reason.code));
    ada.close();
  }));
  assert.equal(await told, 'closed');
  await closed.ended;
});

test('questions: the first answer, all of them, and nobody there', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const [ada, bob, eve] = ['ada', 'bob', 'eve'].map((name) => client(t, server, name));
  const prices = ada.room('prices', { join: false });
  await assert.rejects(prices.ask('apple'), { code: 'no_responders' });
  const answer = (who, extra) => who.room('prices', { join: false }).answer((q) => {
    if (q.body === 'none') return undefined;
    if (q.body === 'broken') throw new Error('no price');
    return q.type === 'binary' ? q.body : { of: q.body, to: q.from, ...extra };
  });
  const one = answer(bob);
  await bob.ping(); // behind it, the room is served
  assert.deepEqual(await prices.ask('apple'), { room: 'prices', from: 'bob', type: 'json', body: { of: 'apple', to: 'ada' } });
  assert.deepEqual((await prices.ask(new Uint8Array([0, 255]))).body, new Uint8Array([0, 255]));
  assert.deepEqual((await prices.ask({ n: [1] })).body.of, { n: [1] });
  await assert.rejects(prices.ask('none', { timeout: 50 }), { code: 'timeout' });
  const failed = event(one, 'failed');
  await assert.rejects(prices.ask('broken', { timeout: '50ms' }), { code: 'timeout' });
  assert.equal((await failed).error.message, 'no price');
  const two = answer(eve);
  await eve.ping();
  assert.deepEqual((await prices.askAll('pear')).map((a) => a.from).sort(), ['bob', 'eve']);
  // More than may wait at once: the others follow.
  const many = await Promise.all(Array.from({ length: 300 }, (_, i) => prices.ask(`${i}`)));
  assert.deepEqual(many.map((a) => a.body.of), Array.from({ length: 300 }, (_, i) => `${i}`));
  await assert.rejects(prices.ask('x'.repeat(70_000)), { code: 'too_large' });
  await assert.rejects(prices.ask('x'.repeat(300_000)), { code: 'too_large' });
  const given = new AbortController();
  const gone = prices.ask('none', { signal: given.signal });
  given.abort();
  await assert.rejects(gone, { code: 'aborted' });
  await one.stop();
  assert.equal((await prices.ask('fig')).from, 'eve');

  await server.stop('SIGKILL');
  await server.start();
  await Promise.all([ada, eve].map((who) => (who.status === 'open' ? null : event(who, 'welcome'))));
  await eve.ping();
  assert.equal((await prices.ask('kiwi')).from, 'eve');
  await two.stop();
  await assert.rejects(prices.ask('kiwi'), { code: 'no_responders' });
});

test('a reader goes on where it was: after an absence, and a server killed meanwhile', options, async (t) => {
  const server = await parley(t);
  if (!server) return;
  const ada = client(t, server, 'ada');
  const orders = ada.room('orders', { join: false });
  const send = (from, to) => Promise.all(Array.from({ length: to - from }, (_, i) => orders.send(`order ${from + i}`)));
  const read = async (n, more) => {
    const service = connect(server.url, { name: 'billing' });
    t.after(() => service.close());
    const bodies = [];
    for await (const m of service.room('orders', { reader: 'billing', after: 0, ...more })) {
      bodies.push(m.body);
      if (bodies.length === n) break;
    }
    service.close();
    return bodies;
  };
  await send(0, 10);
  assert.deepEqual(await read(4), ['order 0', 'order 1', 'order 2', 'order 3']);
  await send(10, 20);
  // The loop was left in the midst of the fourth.
  assert.deepEqual(await read(3), ['order 3', 'order 4', 'order 5']);
  await server.stop('SIGKILL');
  await server.start();
  assert.deepEqual(await read(2, { autoDone: false }), ['order 5', 'order 6']);
  const by = connect(server.url, { name: 'billing' });
  t.after(() => by.close());
  const room = by.room('orders', { reader: 'billing', autoDone: false });
  const [five, six] = await take(room[Symbol.asyncIterator](), 2);
  assert.deepEqual([five.body, six.body], ['order 5', 'order 6']);
  assert.equal(await room.done(six.seq), six.seq);
  assert.equal(await room.done(five.seq), six.seq); // it only rises
  by.close();
  assert.deepEqual(await read(1), ['order 7']);
  await assert.rejects(orders.done(1), { code: 'bad_request' });
});

test('a reader is told what was removed while it was away', options, async (t) => {
  const server = await parley(t, '--retain-messages', '10');
  if (!server) return;
  const ada = client(t, server, 'ada');
  const orders = ada.room('orders', { join: false });
  const { seq } = await orders.send('first');
  const reading = connect(server.url, { name: 'billing' });
  const [first] = await take(reading.room('orders', { reader: 'billing', after: 0 })[Symbol.asyncIterator](), 1);
  await reading.room('orders').done(first.seq);
  reading.close();
  const sent = await Promise.all(Array.from({ length: 30 }, (_, i) => orders.send(`${i}`)));
  const again = client(t, server, 'billing').room('orders', { reader: 'billing' });
  const gaps = [];
  again.on('gap', (e) => gaps.push(e));
  const read = await take(again[Symbol.asyncIterator](), 10);
  assert.deepEqual(read.map((m) => m.body), Array.from({ length: 10 }, (_, i) => `${20 + i}`));
  assert.deepEqual(gaps, [{ after: seq, next: sent[20].seq }]);
});
