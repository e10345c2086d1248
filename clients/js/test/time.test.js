// What the client does by the clock, which these tests hold.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { connect } from '../parley.js';
import { FakeSocket } from './peer.js';

const turn = () => new Promise(setImmediate);

/** A client with a socket that the test plays, while the clock stands. */
async function still(t, options) {
  t.mock.timers.enable({ apis: ['setTimeout', 'setInterval'] });
  FakeSocket.made = [];
  const client = connect('ws://host/ws', { WebSocket: FakeSocket, ...options });
  t.after(() => client.close());
  const events = [];
  client.on('status', (e) => events.push(e));
  await turn();
  const socket = () => FakeSocket.made.at(-1);
  const tick = async (ms) => {
    t.mock.timers.tick(ms);
    await turn();
  };
  return { client, events, socket, tick };
}

test('the wait is any time below a ceiling that doubles from 0.25 to 20 seconds, for ever', async (t) => {
  t.mock.method(Math, 'random', () => 0.999_999);
  const { client, events, socket, tick } = await still(t);
  const waits = [];
  for (let i = 0; i < 10; i++) {
    socket().fail();
    await turn();
    const { status, retryIn } = events.at(-1);
    assert.equal(status, 'offline');
    waits.push(retryIn);
    const made = FakeSocket.made.length;
    await tick(retryIn - 1);
    assert.equal(FakeSocket.made.length, made);
    await tick(1);
    assert.equal(FakeSocket.made.length, made + 1);
    assert.equal(client.status, 'connecting');
  }
  assert.deepEqual(waits, [250, 500, 1000, 2000, 4000, 8000, 16_000, 20_000, 20_000, 20_000]);
  t.mock.method(Math, 'random', () => 0);
  socket().fail();
  await turn();
  assert.equal(events.at(-1).retryIn, 0);
});

test('the server\'s retry_ms is waited for, up to 20 seconds, and a good link begins anew', async (t) => {
  t.mock.method(Math, 'random', () => 0.5);
  const { client, events, socket, tick } = await still(t);
  for (const [hint, wait] of [[2750, 2750], [1e9, 250 + 20_000], [undefined, 500]]) {
    socket().welcome();
    socket().receive({ op: 'error', code: 'unavailable', message: 'going away', retry_ms: hint });
    socket().fail(1012);
    await turn();
    assert.equal(events.at(-1).retryIn, wait);
    assert.equal(events.at(-1).error.code, 'unavailable');
    await tick(wait);
  }
  socket().welcome();
  const pong = client.ping();
  socket().receive({ op: 'pong', ref: socket().sent.at(-1).ref });
  await pong;
  socket().fail();
  await turn();
  assert.equal(events.at(-1).retryIn, 125);
});

test('a silent server is asked for a sign of life, and given up without one', async (t) => {
  const { client, socket, tick } = await still(t);
  socket().welcome();
  const pings = () => socket().sent.filter((f) => f.op === 'ping').length;
  await tick(24_000);
  assert.equal(pings(), 0);
  await tick(1_000);
  assert.equal(pings(), 1);
  socket().receive({ op: 'pong', ref: socket().sent.at(-1).ref });
  await tick(24_000);
  assert.equal(pings(), 1);
  await tick(1_000);
  assert.equal(pings(), 2);
  await tick(9_000);
  assert.equal(client.status, 'open');
  const old = socket();
  await tick(1_000);
  assert.ok(old.closed);
  assert.equal(client.status, 'offline');
  old.receive({ op: 'pong', ref: 1 }); // it wakes up too late
  assert.equal(client.status, 'offline');
});

test('a connection that never welcomes is given up after 10 seconds', async (t) => {
  const { client, socket, tick } = await still(t);
  socket().open();
  const old = socket();
  await tick(10_000);
  assert.ok(old.closed);
  assert.equal(client.status, 'offline');
});

test('a question without an answer rejects in 30 seconds', async (t) => {
  const { client, tick } = await still(t);
  const asked = client.ping();
  const rejected = assert.rejects(asked, { code: 'timeout' });
  await tick(30_000);
  await rejected;
});

test('the browser\'s offline closes at once, its online connects at once', async (t) => {
  const browser = new EventTarget();
  for (const name of ['addEventListener', 'removeEventListener']) {
    globalThis[name] = browser[name].bind(browser);
    t.after(() => { delete globalThis[name]; });
  }
  t.mock.method(Math, 'random', () => 0.9);
  const { client, socket } = await still(t);
  socket().welcome();
  browser.dispatchEvent(new Event('offline'));
  assert.equal(client.status, 'offline');
  assert.ok(socket().closed);
  browser.dispatchEvent(new Event('online'));
  await turn();
  assert.equal(client.status, 'connecting');
  assert.equal(FakeSocket.made.length, 2);
  socket().welcome();
  assert.equal(client.status, 'open');
  browser.dispatchEvent(new Event('online'));
  assert.equal(client.status, 'open');
  client.close();
});

test('a listener that throws stops nothing, and may close the client', async (t) => {
  const { client, socket } = await still(t);
  const uncaught = [];
  const before = process.listeners('uncaughtException');
  process.removeAllListeners('uncaughtException');
  process.on('uncaughtException', (e) => uncaught.push(e.message));
  t.after(() => {
    process.removeAllListeners('uncaughtException');
    for (const fn of before) process.on('uncaughtException', fn);
  });
  client.on('welcome', () => { throw new Error('mine'); });
  client.on('welcome', () => client.close());
  client.room('lobby');
  socket().welcome();
  await turn();
  assert.deepEqual(uncaught, ['mine']);
  assert.equal(client.status, 'closed');
  assert.deepEqual(socket().sent.map((f) => f.op), ['hello']);
});

// The frames that the server's own tests hold it to.
const golden = (name) => JSON.parse(readFileSync(new URL(`../../../wire/testdata/frames/${name}.json`, import.meta.url), 'utf8'));

test('golden messages are read as the server means them', async (t) => {
  const { client, socket } = await still(t);
  for (const { name, line, want } of golden('messages').messages) {
    const room = client.room(want.room, { after: 0 });
    const messages = [];
    room.on('message', (m) => messages.push(m));
    if (client.status !== 'open') socket().welcome();
    await turn();
    const join = socket().sent.findLast((f) => f.op === 'join');
    assert.equal(join.room, want.room);
    socket().receive({ op: 'joined', ref: join.ref, room: want.room, seq: want.seq });
    socket().onmessage({ data: line });
    const { at, body, ...rest } = messages[0];
    const { at: wantAt, body: wantBody, body64, ...wantRest } = want;
    assert.deepEqual(rest, wantRest, name);
    assert.equal(at.getTime(), Date.parse(wantAt), name);
    if (want.type === 'binary') assert.deepEqual(Buffer.from(body).toString('base64'), body64, name);
    else assert.deepEqual(body, want.type === 'json' ? JSON.parse(wantBody) : wantBody, name);
    room.leave();
  }
});

test('golden answers are read as the server means them', async (t) => {
  const { client, socket } = await still(t);
  socket().welcome();
  client.room('lobby');
  await turn();
  const ask = {
    page: () => client.room('lobby').history(),
    members: () => client.room('lobby').members(),
    rooms: () => client.rooms(),
    pong: () => client.ping(),
    ack: () => client.room('lobby').send('x'),
  };
  for (const { name, line } of golden('answers').frames) {
    const frame = JSON.parse(line);
    if (!(frame.op in ask)) {
      socket().onmessage({ data: line }); // of nobody: it harms nothing
      assert.equal(client.status, 'open', name);
      continue;
    }
    const answer = ask[frame.op]();
    await turn();
    socket().receive({ ...frame, ref: socket().sent.at(-1).ref });
    const got = await answer;
    if (frame.op === 'page') assert.deepEqual(got.messages.map((m) => m.seq), frame.messages.map((m) => m.seq), name);
    else if (frame.op === 'ack') assert.deepEqual([got.seq, got.duplicate], [frame.seq, frame.duplicate === true], name);
    else if (frame.op !== 'pong') for (const [key, value] of Object.entries(got)) assert.deepEqual(value, frame[key], name);
  }
});

test('what the client writes is what the server reads', async (t) => {
  const { client, socket } = await still(t);
  socket().welcome();
  const lines = [];
  for (const [body, options, want] of [
    ['hi', { id: 'c1-7' }, { body: 'hi', id: 'c1-7' }],
    [{ t: 21.5 }, {}, { type: 'json', body: { t: 21.5 } }],
    ['"quoted"', { type: 'json' }, { type: 'json', body: '"quoted"' }],
    [null, {}, { type: 'json', body: null }],
    [new Uint8Array([0, 255, 128]), {}, { type: 'binary', body: 'AP+A' }],
    [new Uint8Array([9, 0, 255, 128]).subarray(1), {}, { type: 'binary', body: 'AP+A' }],
    [new Uint8Array([0, 255, 128]).buffer, {}, { type: 'binary', body: 'AP+A' }],
    [new Uint8Array(200_000).fill(7), { id: 'big' }, null],
  ]) {
    client.room('lobby').send(body, options).catch((e) => lines.push(e.code));
    if (!want) continue;
    const { op, ref, room, id, ...rest } = socket().sent.at(-1);
    assert.deepEqual({ op, room }, { op: 'send', room: 'lobby' });
    assert.match(id, /^[!-~]{1,128}$/);
    assert.deepEqual(rest, 'id' in want ? (({ id: _, ...w }) => w)(want) : want);
    if (want.id) assert.equal(id, want.id);
  }
  await turn();
  assert.deepEqual(lines, ['too_large']);
});
