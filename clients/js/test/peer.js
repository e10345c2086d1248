// A WebSocket server by hand, as far as tests need one (RFC 6455): text frames, close, and ends of
// every kind. What a server says is for each test to script.

import { createHash } from 'node:crypto';
import { createServer } from 'node:http';
import { once } from 'node:events';

const GUID = '258EAFA5-E914-47DA-95CA-C5AB0DC85B11';

export const LIMITS = { message: 65_536, frame: 262_144, inflight: 256, rooms: 64, dedupe_ms: 600_000 };

/** Listens on a port of its own; port may be one that was free a moment ago. */
export async function listen({ port = 0, onPeer = undefined } = {}) {
  const http = createServer((_, response) => response.writeHead(404).end());
  const waiting = []; // peers that no test has asked for
  const asked = []; // tests that ask for a peer
  const sockets = new Set();
  http.on('upgrade', (request, socket) => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket));
    socket.on('error', () => {});
    const accept = createHash('sha1').update(request.headers['sec-websocket-key'] + GUID).digest('base64');
    socket.write('HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + `Sec-WebSocket-Accept: ${accept}\r\nSec-WebSocket-Protocol: parley.v1\r\n\r\n`);
    const peer = new Peer(socket, request);
    if (onPeer) onPeer(peer);
    else if (asked.length > 0) asked.shift()(peer);
    else waiting.push(peer);
  });
  http.listen(port, '127.0.0.1');
  await once(http, 'listening');
  const at = http.address().port;
  return {
    port: at,
    url: `ws://127.0.0.1:${at}/ws`,
    /** The next connection, when it is there. */
    accept: () => (waiting.length > 0 ? Promise.resolve(waiting.shift()) : new Promise((resolve) => asked.push(resolve))),
    /** The next connection, welcomed. */
    async welcome(fields) {
      const peer = await this.accept();
      await peer.welcome(fields);
      return peer;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      http.close();
      await once(http, 'close');
    },
  };
}

/** One connection, as the server sees it. */
export class Peer {
  #socket;
  #bytes = Buffer.alloc(0);
  #frames = []; // read, and not asked for
  #asked = [];
  #ended = false;

  constructor(socket, request) {
    this.#socket = socket;
    this.request = request;
    socket.on('data', (bytes) => this.#take(bytes));
    socket.on('close', () => this.#end());
  }

  /** The next frame; null if there will be none. Or give frames to onFrame as they come. */
  read() {
    if (this.#frames.length > 0) return Promise.resolve(this.#frames.shift());
    if (this.#ended) return Promise.resolve(null);
    return new Promise((resolve) => this.#asked.push(resolve));
  }

  onFrame = undefined;

  /** The next frame, which must be of this op. */
  async expect(op) {
    const frame = await this.read();
    if (frame?.op !== op) throw new Error(`expected ${op}, got ${JSON.stringify(frame)}`);
    return frame;
  }

  async welcome({ user, limits = LIMITS, servers } = {}) {
    this.hello = await this.expect('hello');
    this.send({ op: 'welcome', ref: this.hello.ref, user: user ?? this.hello.name ?? 'guest-abcde', session: '00c0ffee00c0ffee', limits, servers });
    return this.hello;
  }

  /** Reads a join and answers it. */
  async joined(seq, more = {}) {
    const join = await this.expect('join');
    this.send({ op: 'joined', ref: join.ref, room: join.room, seq, ...more });
    return join;
  }

  /** Reads a send and acks it. */
  async ack(seq, more = {}) {
    const send = await this.expect('send');
    this.send({ op: 'ack', ref: send.ref, room: send.room, seq, ...more });
    return send;
  }

  message(seq, prev, more = {}) {
    this.send({
      op: 'message', room: 'lobby', seq, prev, id: `x-${seq}`, from: 'bob', at: '2026-11-22T07:00:00.123Z', type: 'text', body: `b${seq}`, ...more,
    });
  }

  send(frame) { this.raw(JSON.stringify(frame)); }

  raw(text) { this.#write(0x81, Buffer.from(text)); }

  #write(first, payload) {
    const n = payload.length;
    const head = n < 126 ? Buffer.from([first, n])
      : n < 65_536 ? Buffer.from([first, 126, n >> 8, n & 255])
        : Buffer.concat([Buffer.from([first, 127]), (() => { const b = Buffer.alloc(8); b.writeBigUInt64BE(BigInt(n)); return b; })()]);
    if (!this.#socket.destroyed) this.#socket.write(Buffer.concat([head, payload]));
  }

  /** Ends the connection without a word, when what was sent is on its way; half: in the midst of a frame. */
  cut({ half = false } = {}) {
    if (half) this.#socket.write(Buffer.from([0x81, 100, 0x7b, 0x22]));
    this.#socket.end();
    this.#socket.resetAndDestroy && setTimeout(() => this.#socket.destroy(), 20).unref();
  }

  close(code, reason = '') {
    const payload = Buffer.concat([Buffer.from([code >> 8, code & 255]), Buffer.from(reason)]);
    this.#write(0x88, payload);
    this.#socket.end();
  }

  /** Reads no more, and says nothing: a network that has gone away. */
  freeze() { this.#socket.pause(); }

  #take(bytes) {
    this.#bytes = Buffer.concat([this.#bytes, bytes]);
    for (;;) {
      const b = this.#bytes;
      if (b.length < 2) return;
      let n = b[1] & 127;
      let at = 2;
      if (n === 126) {
        if (b.length < 4) return;
        n = b.readUInt16BE(2);
        at = 4;
      } else if (n === 127) {
        if (b.length < 10) return;
        n = Number(b.readBigUInt64BE(2));
        at = 10;
      }
      if (b.length < at + 4 + n) return;
      const mask = b.subarray(at, at + 4);
      const payload = Buffer.from(b.subarray(at + 4, at + 4 + n));
      for (let i = 0; i < n; i++) payload[i] ^= mask[i & 3];
      this.#bytes = b.subarray(at + 4 + n);
      const opcode = b[0] & 15;
      if (opcode === 8) {
        this.#write(0x88, payload.subarray(0, 2));
        this.#socket.end();
        this.#end();
        return;
      }
      if (opcode !== 1) continue;
      const frame = JSON.parse(payload.toString());
      if (this.onFrame) this.onFrame(frame);
      else if (this.#asked.length > 0) this.#asked.shift()(frame);
      else this.#frames.push(frame);
    }
  }

  #end() {
    if (this.#ended) return;
    this.#ended = true;
    for (const resolve of this.#asked.splice(0)) resolve(null);
  }
}

/** A WebSocket without a network, for tests that hold the clock. */
export class FakeSocket {
  static made = [];
  sent = [];
  closed = false;
  constructor(url) {
    this.url = url;
    FakeSocket.made.push(this);
  }
  send(text) { this.sent.push(JSON.parse(text)); }
  close() { this.closed = true; }
  receive(frame) { this.onmessage?.({ data: JSON.stringify(frame) }); }
  open() {
    this.onopen?.({});
    return this.sent[0];
  }
  welcome(limits = LIMITS) {
    const { ref, name } = this.open();
    this.receive({ op: 'welcome', ref, user: name ?? 'guest-abcde', session: '00c0ffee00c0ffee', limits });
  }
  fail(code = 1006, reason = '') { this.onclose?.({ code, reason }); }
}

/** The next n messages of a room. */
export async function take(iterator, n) {
  const taken = [];
  while (taken.length < n) {
    const { value, done } = await iterator.next();
    if (done) break;
    taken.push(value);
  }
  return taken;
}

/** The next event of a type. */
export function event(thing, type) {
  return new Promise((resolve) => {
    const off = thing.on(type, (e) => {
      off();
      resolve(e);
    });
  });
}
