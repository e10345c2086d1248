// Everything the page knows: the connection, who we are, our rooms. The elements show it and listen.

import { connect } from '/parley.js';
import { Room } from './room.js';
import { store } from './store.js';

/** What a room may be called; the server has the last word. */
const valid = /^[\p{L}\p{N}_-][\p{L}\p{N}\p{M}_-]*(\.[\p{L}\p{N}_-][\p{L}\p{N}\p{M}_-]*)*$/u;

/** How many rooms a session may be in. */
const MOST = 60;

/**
 * Events: "status" (of the connection), "rooms" (the list or an unread count), "room" (another one is
 * shown), "caughtup" (detail: messages), "who" (our name).
 */
export class Chat extends EventTarget {
  client;
  /** @type {Map<string, Room>} by name, in the order they were joined */
  rooms = new Map();
  /** @type {Room|null} the one shown */
  room = null;
  /** @type {import('/parley.js').ClientEvents['status']} */
  status = { status: 'connecting' };
  /** @type {import('./session.js').Session} */
  session;

  /** @param {import('./session.js').Session} session */
  constructor(session) {
    super();
    this.session = session;
    const name = session.signedIn ? undefined : store.name ?? store.guest ?? undefined;
    const url = `${location.protocol === 'https:' ? 'wss:' : 'ws:'}//${location.host}/ws`;
    // No token but the cookie: the browser sends it along.
    this.client = connect(url, { name, token: () => session.pass() });
    this.client.on('status', (s) => {
      this.status = s;
      if (s.status === 'open') this.#known();
      if (s.error?.code === 'unauthorized' && !session.needed) session.check(); // what has become of us?
      this.#tell('status');
    });
    let needed = session.needed;
    session.addEventListener('change', () => {
      if (needed && !session.needed) this.client.retry();
      needed = session.needed;
      this.#tell('status');
    });
    for (const room of store.rooms) if (valid.test(room) && session.may('join', room)) this.#add(room);
  }

  get user() { return this.client.user ?? (this.session.who.user || store.name || store.guest || ''); }

  get unread() {
    let n = 0;
    for (const room of this.rooms.values()) n += room.unread;
    return n;
  }

  /**
   * The room's name as it is used, or null if there cannot be such a room.
   * @param {string} text
   */
  static nameOf(text) {
    const name = text.trim().replace(/^#/, '').replace(/\s+/gu, '-').normalize('NFC');
    return valid.test(name) && [...name].length <= 128 ? name : null;
  }

  /**
   * Shows a room, and joins it if need be.
   * @param {string} name
   */
  open(name) {
    if (this.room?.name === name) return;
    if (this.room) {
      this.room.watched = false;
      this.room.clearDivider();
    }
    this.room = this.rooms.get(name) ?? this.#add(name);
    store.room = name;
    this.#tell('rooms');
    this.#tell('room');
  }

  /** @param {string} name */
  leave(name) {
    const room = this.rooms.get(name);
    if (!room) return;
    room.leave();
    this.rooms.delete(name);
    store.rooms = [...this.rooms.keys()];
    this.#tell('rooms');
  }

  /**
   * Takes another name.
   * @param {string} name
   */
  async rename(name) {
    await this.client.rename(name);
    store.name = name;
    store.guest = null;
    this.#tell('who');
  }

  /**
   * The room so many places below the one shown.
   * @param {number} step
   */
  neighbour(step) {
    const names = [...this.rooms.keys()];
    if (names.length === 0) return null;
    const at = names.indexOf(this.room?.name ?? '');
    return names[(at + step + names.length) % names.length];
  }

  /** Rooms of the server that we are not in, for suggestions. */
  async others() {
    const { rooms } = await this.client.rooms({ limit: 100 });
    return rooms.map((r) => r.room).filter((name) => !this.rooms.has(name));
  }

  /** @param {string} name */
  #add(name) {
    while (this.rooms.size >= MOST) this.leave(/** @type {string} */ (this.rooms.keys().next().value));
    const room = new Room(name, this.client, this.session);
    room.addEventListener('unread', () => this.#tell('rooms'));
    room.addEventListener('caughtup', (e) =>
      this.dispatchEvent(new CustomEvent('caughtup', { detail: /** @type {CustomEvent} */ (e).detail })));
    this.rooms.set(name, room);
    store.rooms = [...this.rooms.keys()];
    return room;
  }

  /** The server has said who we are. */
  #known() {
    if (this.session.who.anonymous && !store.name && this.client.user) store.guest = this.client.user;
    this.#tell('who');
  }

  /** @param {string} kind */
  #tell(kind) { this.dispatchEvent(new Event(kind)); }
}
