// A server in a few lines, with rooms that are durable while it lives, and connections that are cut
// where the test likes. It keeps what a server promises, so that a test can ask what a client makes
// of it.

import { listen, LIMITS } from './peer.js';

export async function model({ cut = () => false, limits = LIMITS, retain = Infinity } = {}) {
  const rooms = new Map(); // name → {log, dropped, ids, members: Map<peer, {at}>}
  let seq = 0;
  const counts = { peers: 0, cuts: 0, joins: [], leaves: 0 };
  const room = (name) => {
    if (!rooms.has(name)) rooms.set(name, { log: [], removed: 0, ids: new Map(), members: new Map() });
    return rooms.get(name);
  };

  const dead = new Set();
  /** Whether the connection ends here. */
  const cutsAt = (peer, where, frame) => {
    if (dead.has(peer)) return true;
    if (!cut(where, frame)) return false;
    dead.add(peer);
    counts.cuts++;
    for (const r of rooms.values()) r.members.delete(peer);
    peer.cut({ half: counts.cuts % 2 === 0 });
    return true;
  };
  const say = (peer, frame) => {
    if (cutsAt(peer, 'before', frame)) return false;
    peer.send(frame);
    return !cutsAt(peer, 'after', frame);
  };

  const store = (name, from, op) => {
    const r = room(name);
    const key = `${from}\n${op.id}`;
    const known = r.ids.get(key);
    if (known) return { seq: known, duplicate: true };
    seq += 1 + (seq % 3);
    const m = { room: name, seq, prev: r.log.at(-1)?.seq ?? 0, id: op.id, from, at: new Date().toISOString(), type: op.type ?? 'text', body: op.body };
    r.log.push(m);
    if (r.log.length > retain) r.removed = r.log.shift().seq;
    r.ids.set(key, seq);
    for (const [peer] of r.members) feed(peer, r);
    return { seq };
  };

  const feed = (peer, r) => {
    const member = r.members.get(peer);
    for (const m of r.log) {
      if (!member || m.seq <= member.at) continue;
      member.at = m.seq;
      if (!say(peer, { op: 'message', ...m })) return;
    }
  };

  const ops = {
    join(peer, { ref, room: name, after, last }) {
      const r = room(name);
      counts.joins.push(after);
      if (r.members.has(peer)) return say(peer, { op: 'error', ref, code: 'conflict', message: 'in it already' });
      const head = r.log.at(-1)?.seq ?? 0;
      if (!say(peer, { op: 'joined', ref, room: name, seq: head })) return;
      let at = after ?? head;
      if (last !== undefined) at = (r.log.at(-last) ?? r.log[0])?.prev ?? head;
      if (after > 0 && after < r.removed && !say(peer, { op: 'gap', room: name, after, next: r.log[0].seq })) return;
      r.members.set(peer, { at });
      feed(peer, r);
    },
    leave(peer, { ref, room: name }) {
      counts.leaves++;
      room(name).members.delete(peer);
      say(peer, { op: 'left', ref, room: name });
    },
    send(peer, op) {
      const stored = store(op.room, peer.user, op);
      say(peer, { op: 'ack', ref: op.ref, room: op.room, ...stored });
    },
    history(peer, { ref, room: name, after = 0, limit = 50 }) {
      const all = room(name).log.filter((m) => m.seq > after);
      say(peer, { op: 'page', ref, room: name, messages: all.slice(0, limit), more: all.length > limit });
    },
    ping: (peer, { ref }) => say(peer, { op: 'pong', ref }),
    hello(peer, { ref, name }) {
      peer.user = name ?? `guest-${counts.peers}`;
      say(peer, { op: 'welcome', ref, user: peer.user, session: '00c0ffee00c0ffee', limits });
    },
  };

  const server = await listen({
    onPeer(peer) {
      counts.peers++;
      let first = true;
      peer.onFrame = (frame) => {
        if (first && frame.op !== 'hello') throw new Error('hello comes first');
        first = false;
        if (cutsAt(peer, 'in', frame)) return;
        ops[frame.op](peer, frame);
        cutsAt(peer, 'done', frame);
      };
    },
  });
  return {
    ...server,
    counts,
    room,
    /** Stores a message as somebody else. */
    post: (name, body, from = 'bob') => store(name, from, { id: `post-${seq}`, body }),
  };
}
