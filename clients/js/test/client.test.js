// What the client does with a server that each test scripts, frame by frame.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { connect, ParleyError } from '../parley.js';
import { event, listen, LIMITS, take } from './peer.js';

/** A server and a client that end with the test. */
async function pair(t, options) {
  const server = await listen();
  const client = connect(server.url, { name: 'ada', ...options });
  t.after(async () => {
    client.close();
    await server.close();
  });
  return { server, client };
}

const code = (wanted) => (error) => error instanceof ParleyError && error.code === wanted;

test('hello comes first, with the name and the token, and everything else behind the welcome', async (t) => {
  const { server, client } = await pair(t, { token: async () => 'secret' });
  const room = client.room('lobby');
  const sent = room.send('hi');
  const peer = await server.accept();
  assert.equal(client.status, 'connecting');
  assert.equal(peer.request.headers['sec-websocket-protocol'], 'parley.v1');
  const hello = await peer.expect('hello');
  assert.equal(hello.name, 'ada');
  assert.equal(hello.token, 'secret');
  peer.send({ op: 'welcome', ref: 'another', user: 'mallory', session: '0', limits: {} });
  const next = peer.read();
  assert.equal(await Promise.race([next, new Promise((resolve) => setTimeout(resolve, 50, 'silence'))]), 'silence');
  peer.send({ op: 'welcome', ref: hello.ref, user: 'ada', session: '00c0ffee00c0ffee', limits: LIMITS });
  assert.equal((await client.ready).user, 'ada');
  assert.equal(client.user, 'ada');
  assert.equal(client.status, 'open');
  assert.deepEqual(client.limits, LIMITS);
  const join = await next;
  assert.deepEqual(join, { op: 'join', room: 'lobby', ref: join.ref });
  const send = await peer.ack(7);
  assert.equal(send.body, 'hi');
  assert.deepEqual(await sent, { room: 'lobby', seq: 7, id: send.id, duplicate: false });
});

test('messages come in order, each once, through cuts', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { after: 10 });
  const iterator = room[Symbol.asyncIterator]();
  let peer = await server.welcome();
  assert.equal((await peer.joined(12)).after, 10);
  peer.message(11, 10);
  peer.cut({ half: true });
  assert.deepEqual((await take(iterator, 1)).map((m) => m.seq), [11]);
  peer = await server.welcome();
  assert.equal((await peer.joined(12)).after, 11);
  peer.message(11, 10); // a server that repeats itself
  peer.message(12, 11);
  assert.deepEqual((await take(iterator, 1)).map((m) => m.body), ['b12']);
  peer.cut();
  peer = await server.welcome();
  const caughtup = event(room, 'caughtup');
  assert.equal((await peer.joined(14)).after, 12);
  peer.message(14, 12);
  assert.deepEqual((await take(iterator, 1)).map((m) => m.seq), [14]);
  const next = iterator.next();
  assert.deepEqual(await caughtup, { messages: 1 });
  client.close();
  assert.deepEqual(await next, { value: undefined, done: true });
});

test('a live start goes on from joined.seq, a cut before the first message included', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { presence: true });
  const seen = [];
  for (const type of ['joined', 'message', 'gap', 'presence', 'signal', 'caughtup']) room.on(type, (e) => seen.push([type, e.seq ?? e]));
  let peer = await server.welcome();
  const join = await peer.joined(40, { members: [{ user: 'ada' }], count: 1 });
  assert.deepEqual(join, { op: 'join', room: 'lobby', presence: true, ref: join.ref });
  peer.send({ op: 'presence', room: 'lobby', joined: [{ user: 'bob' }], left: [], count: 2 });
  peer.send({ op: 'signal', room: 'lobby', from: 'bob', body: { typing: true } });
  peer.cut();
  peer = await server.welcome();
  assert.equal((await peer.joined(41)).after, 40);
  peer.message(41, 40);
  await event(room, 'caughtup');
  peer.message(43, 41);
  peer.send({ op: 'gap', room: 'lobby', after: 43, next: 60 });
  peer.message(60, 59);
  peer.message(70, 65); // and its server kept the gap to itself
  while (seen.length < 11) await event(room, 'message');
  assert.deepEqual(seen, [
    ['joined', 40],
    ['presence', { joined: [{ user: 'bob' }], left: [], count: 2 }],
    ['signal', { from: 'bob', body: { typing: true } }],
    ['joined', 41], ['message', 41], ['caughtup', { messages: 1 }], ['message', 43],
    ['gap', { after: 43, next: 60 }], ['message', 60],
    ['gap', { after: 60, next: 70 }], ['message', 70],
  ]);
});

test('last and since start anew until something has come, without losing what came meanwhile', async (t) => {
  const { server, client } = await pair(t);
  const gaps = [];
  const room = client.room('lobby', { last: 2 });
  client.room('quiet', { since: '10m' });
  room.on('gap', (e) => gaps.push(e));
  room.on('message', () => {});
  let peer = await server.welcome();
  assert.equal((await peer.joined(5)).last, 2);
  assert.equal((await peer.joined(5)).since, '10m');
  await new Promise((resolve) => setTimeout(resolve, 20));
  peer.cut();
  peer = await server.welcome();
  assert.equal((await peer.joined(9)).last, 2);
  const again = (await peer.joined(9)).since;
  assert.match(again, /^\d+ms$/);
  assert.ok(parseInt(again, 10) >= 600_010 && parseInt(again, 10) < 700_000, again);
  peer.message(8, 7);
  await event(room, 'message');
  assert.deepEqual(gaps, [{ after: 5, next: 8 }]);
});

test('a send is sent again under its id, in order, and resolves with the seq of the first', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  let peer = await server.welcome();
  await peer.joined(0);
  const sent = ['a', 'b', 'c'].map((body) => room.send(body));
  const first = [await peer.ack(1), await peer.expect('send'), await peer.expect('send')];
  peer.cut(); // behind the send, before the ack
  const later = room.send('d');
  peer = await server.welcome();
  await peer.joined(1);
  const again = [await peer.ack(2, { duplicate: true }), await peer.ack(3), await peer.ack(4)];
  assert.deepEqual(again.map((f) => f.body), ['b', 'c', 'd']);
  assert.deepEqual(again.slice(0, 2).map((f) => f.id), first.slice(1).map((f) => f.id));
  assert.equal(new Set([...first, ...again].map((f) => f.id)).size, 4);
  const receipts = await Promise.all([...sent, later]);
  assert.deepEqual(receipts.map((r) => [r.seq, r.duplicate]), [[1, false], [2, true], [3, false], [4, false]]);
});

test('a send that is refused for now is sent again, behind no newer one', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  const peer = await server.welcome();
  await peer.joined(0);
  const sent = [room.send('a'), room.send('b')];
  for (let i = 0; i < 2; i++) {
    peer.send({ op: 'error', ref: (await peer.expect('send')).ref, code: 'unavailable', message: 'later', retry_ms: 5 });
  }
  const pong = client.ping();
  peer.send({ op: 'pong', ref: (await peer.expect('ping')).ref });
  await pong;
  sent.push(room.send('c'));
  const bodies = [];
  for (let seq = 1; seq <= 3; seq++) bodies.push((await peer.ack(seq)).body);
  assert.deepEqual(bodies, ['a', 'b', 'c']);
  assert.deepEqual((await Promise.all(sent)).map((r) => r.seq), [1, 2, 3]);
});

test('a send that is refused for good rejects, and the next goes on', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  const peer = await server.welcome();
  await peer.joined(0);
  const [bad, good] = [room.send('a'), room.send('b')];
  peer.send({ op: 'error', ref: (await peer.expect('send')).ref, code: 'denied', message: 'no' });
  await peer.ack(1);
  await assert.rejects(bad, code('denied'));
  assert.equal((await good).seq, 1);
});

test('the outbox has a bound, the server\'s window is kept, and what cannot be sent is refused here', async (t) => {
  const { server, client } = await pair(t, { outbox: 3 });
  const room = client.room('lobby');
  const sent = [1, 2, 3].map((n) => room.send(`${n}`));
  await assert.rejects(room.send('4'), code('outbox_full'));
  const peer = await server.welcome({ limits: { ...LIMITS, inflight: 2, frame: 300 } });
  await peer.joined(0);
  const [one] = [await peer.expect('send'), await peer.expect('send')];
  const third = peer.read();
  assert.equal(await Promise.race([third, new Promise((resolve) => setTimeout(resolve, 50, 'silence'))]), 'silence');
  peer.send({ op: 'ack', ref: one.ref, room: 'lobby', seq: 1 });
  assert.equal((await third).body, '3');
  await sent[0];
  for (const ref of ['m-2', 'm-3']) peer.send({ op: 'ack', ref, room: 'lobby', seq: 2 });
  await Promise.all(sent);
  await assert.rejects(room.send('é'.repeat(150)), code('too_large'));
  for (const [body, options] of [[undefined], [1n], [() => {}], ['x', { type: 'binary' }], [{}, { type: 'text' }], ['x', { id: '' }], ['x', { id: 'ü' }]]) {
    await assert.rejects(room.send(body, options), code('bad_request'), String(body));
  }
  const cyclic = {};
  cyclic.self = cyclic;
  await assert.rejects(room.send(cyclic), code('bad_request'));
});

test('beyond the dedupe window nothing is sent again', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  let peer = await server.welcome({ limits: { ...LIMITS, dedupe_ms: 100 } });
  await peer.joined(0);
  const old = room.send('old');
  await peer.expect('send');
  await new Promise((resolve) => setTimeout(resolve, 100));
  peer.cut();
  await assert.rejects(old, code('unknown'));
  const young = room.send('young');
  peer = await server.welcome();
  await peer.joined(0);
  assert.equal((await peer.ack(1)).body, 'young');
  await young;
});

test('what was sent under one name is not sent again under another', async (t) => {
  const { server, client } = await pair(t, { name: undefined, token: () => 'token' });
  const room = client.room('lobby');
  let peer = await server.welcome({ user: 'ada' });
  await peer.joined(0);
  const sent = room.send('a');
  await peer.expect('send');
  peer.cut();
  peer = await server.welcome({ user: 'bob' });
  await assert.rejects(sent, code('unknown'));
});

test('a guest comes back under the name it was given', async (t) => {
  const { server, client } = await pair(t, { name: undefined });
  let peer = await server.welcome({ user: 'guest-k3xq9' });
  assert.equal(peer.hello.name, undefined);
  await client.ready;
  peer.cut();
  peer = await server.welcome();
  assert.equal(peer.hello.name, 'guest-k3xq9');
});

test('rename waits for what was sent, and holds what was not', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  const peer = await server.welcome();
  await peer.joined(0);
  const before = room.send('before');
  const send = await peer.expect('send');
  const renamed = client.rename('lovelace');
  const after = room.send('after');
  await new Promise((resolve) => setTimeout(resolve, 20));
  peer.send({ op: 'ack', ref: send.ref, room: 'lobby', seq: 1 });
  const hello = await peer.expect('hello');
  assert.equal(hello.name, 'lovelace');
  peer.send({ op: 'welcome', ref: hello.ref, user: 'lovelace', session: '0', limits: LIMITS });
  assert.equal(await renamed, 'lovelace');
  assert.equal(client.user, 'lovelace');
  assert.equal((await peer.ack(2)).body, 'after');
  await Promise.all([before, after]);
});

test('questions are asked again after a cut, in the midst of a page too', async (t) => {
  const { server, client } = await pair(t);
  let peer = await server.welcome();
  const page = client.room('lobby').history({ after: 3, limit: 2 });
  assert.deepEqual(pick(await nextOf(peer, 'history')), { room: 'lobby', after: 3, limit: 2 });
  peer.cut({ half: true });
  peer = await server.welcome();
  const history = await nextOf(peer, 'history');
  peer.send({
    op: 'page', ref: history.ref, room: 'lobby', more: true,
    messages: [{ room: 'lobby', seq: 4, prev: 3, id: 'x', from: 'bob', at: '2026-11-22T07:00:00.123Z', type: 'binary', body: 'AP8=' }],
  });
  const { messages, more } = await page;
  assert.equal(more, true);
  assert.deepEqual(messages[0].body, new Uint8Array([0, 255]));
  assert.equal(messages[0].at.getTime(), Date.UTC(2026, 10, 22, 7, 0, 0, 123));

  const rooms = client.rooms({ after: 'a', limit: 1 });
  const asked = await nextOf(peer, 'rooms');
  assert.deepEqual(pick(asked), { after_room: 'a', limit: 1 });
  peer.send({ op: 'rooms', ref: asked.ref, rooms: [{ room: 'lobby', seq: 4, messages: 4, members: 1 }], more: false });
  assert.deepEqual(await rooms, { rooms: [{ room: 'lobby', seq: 4, messages: 4, members: 1 }], more: false });

  const members = client.room('lobby').members();
  peer.send({ op: 'members', ref: (await nextOf(peer, 'members')).ref, room: 'lobby', members: [{ user: 'ada' }], count: 1 });
  assert.deepEqual(await members, { members: [{ user: 'ada' }], count: 1 });

  const ping = client.ping();
  peer.send({ op: 'pong', ref: (await nextOf(peer, 'ping')).ref });
  assert.ok(await ping >= 0);

  const refused = client.room('lobby').history();
  peer.send({ op: 'error', ref: (await nextOf(peer, 'history')).ref, code: 'denied', message: 'no' });
  await assert.rejects(refused, code('denied'));

  const aborter = new AbortController();
  const given = client.ping({ signal: aborter.signal });
  aborter.abort();
  await assert.rejects(given, code('aborted'));
});

test('a server that refuses the client ends it for good', async (t) => {
  const { server, client } = await pair(t, { token: 'old' });
  const room = client.room('lobby');
  const sent = room.send('x');
  const next = room[Symbol.asyncIterator]().next();
  const peer = await server.accept();
  const { ref } = await peer.expect('hello');
  const status = event(client, 'status');
  peer.send({ op: 'error', ref, code: 'unauthorized', message: 'the token has expired' });
  assert.equal((await status).status, 'closed');
  for (const promise of [client.ready, sent, next, client.ping(), room.send('y')]) await assert.rejects(promise, code('unauthorized'));
  assert.equal(client.status, 'closed');
});

test('a token function is asked for each try, and may fail', async (t) => {
  let calls = 0;
  const { server, client } = await pair(t, {
    token: async () => {
      await new Promise((resolve) => setTimeout(resolve, 10));
      if (++calls === 1) throw new Error('no network');
      return `t${calls}`;
    },
  });
  const { error } = await event(client, 'status');
  assert.match(error.message, /no network/);
  let peer = await server.welcome();
  assert.equal(peer.hello.token, 't2');
  peer.close(1012, 'going away');
  peer = await server.welcome();
  assert.equal(peer.hello.token, 't3');
});

test('a room that is refused for good ends, and no other', async (t) => {
  const { server, client } = await pair(t);
  const denied = client.room('ops');
  const errors = event(denied, 'error');
  const room = client.room('lobby');
  const peer = await server.welcome();
  peer.send({ op: 'error', ref: (await peer.expect('join')).ref, code: 'denied', message: 'no' });
  await peer.joined(0);
  assert.equal((await errors).code, 'denied');
  await assert.rejects(take(denied[Symbol.asyncIterator](), 1), code('denied'));
  const first = take(room[Symbol.asyncIterator](), 1);
  peer.message(1, 0);
  assert.equal((await first)[0].seq, 1);
  assert.notEqual(client.room('ops'), denied);
});

test('a room that is refused for now is joined again', async (t) => {
  const { server, client } = await pair(t);
  client.room('lobby', { after: 4 });
  const peer = await server.welcome();
  peer.send({ op: 'error', ref: (await peer.expect('join')).ref, code: 'unavailable', message: 'later', retry_ms: 1 });
  assert.equal((await peer.joined(4)).after, 4);
});

test('a loop that ends leaves the room, and so does leave', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { after: 0 });
  const peer = await server.welcome();
  await peer.joined(3);
  for (const seq of [1, 2, 3]) peer.message(seq, seq - 1);
  for await (const m of room) if (m.seq === 2) break;
  assert.equal((await peer.expect('leave')).room, 'lobby');
  const again = client.room('lobby');
  assert.notEqual(again, room);
  assert.equal(client.room('lobby'), again);
  await peer.joined(3);
  const next = again[Symbol.asyncIterator]().next();
  again.leave();
  assert.deepEqual(await next, { value: undefined, done: true });
  await peer.expect('leave');
});

test('a slow consumer leaves, and comes back for the rest', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { after: 0 });
  const iterator = room[Symbol.asyncIterator]();
  const peer = await server.welcome();
  await peer.joined(3000);
  for (let seq = 1; seq <= 1500; seq++) peer.message(seq, seq - 1);
  const leave = await peer.expect('leave');
  assert.deepEqual((await take(iterator, 700)).map((m) => m.seq), Array.from({ length: 700 }, (_, i) => i + 1));
  peer.message(1501, 1500); // on its way when the leave was read
  peer.send({ op: 'left', ref: leave.ref, room: 'lobby' });
  const soon = peer.read();
  assert.equal(await Promise.race([soon, new Promise((resolve) => setTimeout(resolve, 30, 'silence'))]), 'silence');
  await take(iterator, 100);
  const join = await soon;
  assert.equal(join.op, 'join');
  assert.equal(join.after, 1024);
  peer.send({ op: 'joined', ref: join.ref, room: 'lobby', seq: 3000 });
  for (let seq = 1025; seq <= 1200; seq++) peer.message(seq, seq - 1);
  assert.equal((await take(iterator, 400)).at(-1).seq, 1200);
});

test('without echo one\'s own messages are left out, after a reconnect too', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { echo: false });
  const seen = [];
  room.on('message', (m) => seen.push(m.seq));
  room.on('gap', (e) => seen.push(e));
  let peer = await server.welcome();
  await peer.joined(0);
  room.send('mine', { id: 'my-own' });
  const { id } = await peer.ack(1);
  peer.message(1, 0, { from: 'ada', id });
  peer.message(2, 1, { from: 'bob', id });
  peer.cut();
  peer = await server.welcome();
  assert.equal((await peer.joined(4)).after, 2);
  peer.message(3, 2, { from: 'ada', id });
  peer.message(4, 3, { from: 'ada', id: 'another tab' });
  assert.deepEqual(await event(room, 'caughtup'), { messages: 1 });
  assert.deepEqual(seen, [2, 4]);
});

test('signals go out while the room is joined, and their refusal is an event', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby');
  assert.equal(room.signal({ typing: true }), false);
  const peer = await server.welcome();
  const joined = event(room, 'joined');
  await peer.joined(0);
  await joined;
  assert.equal(room.signal({ typing: true }), true);
  const { op, room: name, body, ref } = await peer.expect('signal');
  assert.deepEqual({ op, name, body }, { op: 'signal', name: 'lobby', body: { typing: true } });
  const error = event(room, 'error');
  peer.send({ op: 'error', ref, code: 'rate_limited', message: 'slower' });
  assert.equal((await error).code, 'rate_limited');
});

test('several URLs are taken in turn', async (t) => {
  const [a, b] = [await listen(), await listen()];
  const gone = await listen();
  await gone.close();
  const client = connect([gone.url, a.url, b.url]);
  t.after(() => Promise.all([client.close(), a.close(), b.close()]));
  const peer = await a.welcome();
  await client.ready;
  peer.cut();
  await b.welcome();
});

test('the other nodes of a cluster are learned from welcome, but for what is spoken to otherwise', async (t) => {
  const [a, b] = [await listen(), await listen()];
  const client = connect(a.url);
  t.after(() => Promise.all([client.close(), a.close(), b.close()]));
  const peer = await a.welcome({ servers: ['127.0.0.1:1', 'wss://127.0.0.1:1/ws', a.url, b.url] });
  await client.ready;
  peer.cut();
  const other = await b.welcome();
  other.cut();
  await a.welcome();
});

test('a node that goes away says where to go', async (t) => {
  const [a, b] = [await listen(), await listen()];
  const client = connect(a.url);
  t.after(() => Promise.all([client.close(), a.close(), b.close()]));
  const peer = await a.welcome();
  await client.ready;
  peer.send({ op: 'error', code: 'unavailable', message: 'going away', retry_ms: 20, servers: ['wss://127.0.0.1:1/ws', b.url] });
  peer.cut();
  await b.welcome();
});

test('close and an abort end everything that waits', async (t) => {
  const aborter = new AbortController();
  const { server, client } = await pair(t, { signal: aborter.signal });
  const room = client.room('lobby');
  const peer = await server.welcome();
  await peer.joined(0);
  const sent = room.send('a');
  await peer.expect('send');
  const asked = client.ping();
  aborter.abort();
  await assert.rejects(sent, code('unknown'));
  await assert.rejects(asked, code('closed'));
  await assert.rejects(room.send('b'), code('closed'));
  assert.equal(client.status, 'closed');
  client.close();
  assert.deepEqual(await room[Symbol.asyncIterator]().next(), { value: undefined, done: true });
  assert.deepEqual(await client.room('other')[Symbol.asyncIterator]().next(), { value: undefined, done: true });
});

test('messages wait for their first listener', async (t) => {
  const { server, client } = await pair(t);
  const room = client.room('lobby', { after: 0 });
  const peer = await server.welcome();
  await peer.joined(2);
  peer.message(1, 0);
  peer.message(2, 1);
  await client.ready;
  const pong = client.ping();
  peer.send({ op: 'pong', ref: (await peer.expect('ping')).ref });
  await pong;
  const seen = [];
  room.on('message', (m) => seen.push(m.seq));
  await new Promise(setImmediate);
  assert.deepEqual(seen, [1, 2]);
});

test('URLs', () => {
  const seen = [];
  class Socket {
    constructor(url) { seen.push(url); }
    close() {}
  }
  const urls = ['http://host', 'https://host/', 'https://host:8443/chat', 'http://host/ws', 'ws://host/ws', 'wss://host', 'ws://host/other?x=1#y'];
  const clients = urls.map((url) => connect(url, { WebSocket: Socket }));
  return new Promise(setImmediate).then(() => {
    for (const client of clients) client.close();
    assert.deepEqual(seen, ['ws://host/ws', 'wss://host/ws', 'wss://host:8443/chat/ws', 'ws://host/ws', 'ws://host/ws', 'wss://host/ws', 'ws://host/other?x=1']);
    for (const url of ['ftp://host', 'host', '', []]) assert.throws(() => connect(url), code('bad_request'));
    const client = connect('ws://host', { WebSocket: Socket });
    assert.throws(() => client.room('x', { after: 1, last: 1 }), code('bad_request'));
    client.close();
  });
});

async function nextOf(peer, op) {
  for (;;) {
    const frame = await peer.read();
    if (frame === null || frame.op === op) return frame;
    if (frame.op === 'join') peer.send({ op: 'joined', ref: frame.ref, room: frame.room, seq: 0 });
  }
}

function pick({ op, ref, ...rest }) { return rest; }

test('a server that can store nothing says so, and when it can again', async (t) => {
  const { server, client } = await pair(t);
  const peer = await server.welcome();
  await client.ready;
  const told = [];
  client.on('status', (event) => told.push(event));
  peer.send({ op: 'status', available: false, message: 'too few nodes' });
  await event(client, 'status');
  assert.equal(client.status, 'open');
  assert.equal(client.unavailable, 'too few nodes');
  peer.send({ op: 'status', available: false, message: 'too few nodes' });
  peer.send({ op: 'status', available: true, message: 'enough' });
  await event(client, 'status');
  assert.equal(client.unavailable, undefined);
  peer.send({ op: 'status', available: false, message: 'again' });
  await event(client, 'status');
  peer.close(1012, 'going away');
  await event(client, 'status');
  assert.equal(client.unavailable, undefined, 'of another connection nothing is known');
  const { error, retryIn, ...offline } = told.at(-1);
  assert.deepEqual([...told.slice(0, -1), offline], [
    { status: 'open', unavailable: 'too few nodes' }, { status: 'open' }, { status: 'open', unavailable: 'again' }, { status: 'offline' },
  ]);
});
