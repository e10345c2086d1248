// A room as this page knows it: its messages, who is there, what is unread, what is on its way.

import { store } from './store.js';
import { Timeline } from './timeline.js';

/** @typedef {import('./timeline.js').Message} Message */
/**
 * A message of ours that is not in the log yet, as far as we know.
 * @typedef {{id: string, body: string, at: Date, state: 'sending'|'stored'|'failed', seq: number, error: string}} Draft
 */

/** How many messages a room starts with, and so the most that it can show as unread at first. */
const FIRST = 100;

/** How long somebody types for who said so once, in milliseconds. */
const TYPING = 6000;

/** More people than this are a number. */
const NAMED = 200;

export class Room extends EventTarget {
  /** Fixed at birth. */
  name;
  timeline;
  /** Whether what was said before we came may be read. */
  past;
  #handle;
  #me;
  #session;

  /** @type {Draft[]} */
  drafts = [];
  /** What stands in the box. */
  text = '';
  unread = 0;
  /** The newest seq that was read. */
  read;
  /** Behind which seq the line "new" stands; null = there is none. @type {number|null} */
  divider = null;
  /** @type {Set<string>} */
  people = new Set();
  count = 0;
  /** @type {Map<string, number>} who types, and until when */
  typing = new Map();
  /** @type {Message|null} */
  last = null;
  /** Why one is not in it, if so. */
  error = '';

  /** Whether what it had when we joined is here. */
  ready = false;

  #watched = false;
  /** The newest seq when we joined: up to it, messages are the past, and new to us if unread. */
  #past = Infinity;
  #signalled = 0;
  #saving = 0; // the timer that is to remember what was read: not for each message of a busy room
  #leaving = new AbortController();
  #asked = false;

  /**
   * @param {string} name
   * @param {import('/parley.js').Client} client
   * @param {import('./session.js').Session} session
   */
  constructor(name, client, session) {
    super();
    this.name = name;
    this.#session = session;
    this.past = session.may('history', name);
    this.#me = () => client.user ?? '';
    this.read = store.read(name);
    this.timeline = new Timeline((query) => this.#handle.history(query), () => {
      this.#settle();
      this.#changed('log');
    });
    this.timeline.atStart = !this.past;
    this.#handle = client.room(name, { last: this.past ? FIRST : undefined, presence: session.may('members', name) });
    addEventListener('pagehide', () => this.#save(), { signal: this.#leaving.signal });
    this.#handle.on('message', (m) => this.#message(m));
    this.#handle.on('gap', (g) => this.timeline.addGap(g));
    this.#handle.on('joined', (j) => this.#joined(j));
    this.#handle.on('presence', (p) => this.#presence(p));
    this.#handle.on('signal', (s) => this.#signal(s));
    this.#handle.on('caughtup', (c) => this.dispatchEvent(new CustomEvent('caughtup', { detail: c.messages })));
    this.#handle.on('error', (e) => this.#failed(e));
  }

  /** Whether its messages are being read right now: it is shown, the page is visible, the end in view. */
  get watched() { return this.#watched; }

  set watched(yes) {
    if (this.#watched === yes) return;
    this.#watched = yes;
    if (yes) this.markRead();
  }

  /** Everything up to the newest message is read. */
  markRead() {
    const newest = this.timeline.newest;
    if (newest > (this.read ?? -1)) {
      this.read = newest;
      this.#saving ||= setTimeout(() => this.#save(), 300);
    }
    if (this.unread === 0) return;
    this.unread = 0;
    this.#changed('unread');
  }

  /** The line above what was new goes, once one has gone on. */
  clearDivider() {
    if (this.divider === null || this.unread > 0) return;
    this.divider = null;
    this.#changed('log');
  }

  /**
   * Sends a text. The server keeps the order in which texts were sent.
   * @param {string} body
   */
  send(body) {
    /** @type {Draft} */
    const draft = { id: crypto.randomUUID?.() ?? randomId(), body, at: new Date(), state: 'sending', seq: 0, error: '' };
    this.drafts.push(draft);
    this.divider = null;
    void this.#deliver(draft);
  }

  /**
   * Sends a text that failed once more, with its old id: if it was stored after all, it stays one.
   * @param {Draft} draft
   */
  retry(draft) {
    if (draft.state === 'failed') void this.#deliver(draft);
  }

  /** @param {Draft} draft */
  discard(draft) {
    this.drafts = this.drafts.filter((d) => d !== draft);
    this.#changed('log');
  }

  /** Says that we type, now and then; or, with false, that we no longer do. */
  type(yes = true) {
    if (!this.#session.may('signal', this.name)) return;
    const now = Date.now();
    if (yes ? now - this.#signalled < TYPING / 2 : this.#signalled === 0) return;
    this.#signalled = yes ? now : 0;
    this.#handle.signal({ typing: yes });
  }

  /** Leaves the room for good. */
  leave() {
    clearTimeout(this.#saving);
    this.#leaving.abort();
    store.setRead(this.name, null);
    this.#handle.leave();
  }

  /** @param {Draft} draft */
  async #deliver(draft) {
    draft.state = 'sending';
    draft.error = '';
    this.#changed('log');
    try {
      const ack = await this.#handle.send(draft.body, { id: draft.id });
      draft.state = 'stored';
      draft.seq = ack.seq;
    } catch (error) {
      draft.state = 'failed';
      draft.error = error instanceof Error ? error.message : String(error);
    }
    this.#settle();
    this.#changed('log');
  }

  /** Drops drafts whose message the log shows. */
  #settle() {
    if (this.drafts.length === 0) return;
    const { atEnd, newest } = this.timeline;
    this.drafts = this.drafts.filter((d) => !(d.state === 'stored' && atEnd && d.seq <= newest));
  }

  /** @param {Message} message */
  #message(message) {
    if (!this.timeline.add(message)) return;
    this.last = message;
    this.drafts = this.drafts.filter((d) => d.id !== message.id);
    this.#settle();
    if (this.typing.delete(message.from)) this.#changed('typing');
    if (message.seq >= this.#past) this.ready = true;
    if (this.#watched) this.markRead();
    else if (message.seq > (this.read ?? 0) && message.from !== this.#me()) {
      if (this.unread === 0) this.divider = this.read ?? 0;
      this.unread++;
    }
    this.#changed('unread');
  }

  /** @param {{seq: number, count?: number, members?: {user: string}[]}} joined */
  #joined(joined) {
    this.error = '';
    // A room that was never open here begins read.
    if (this.read === null) {
      this.read = joined.seq;
      store.setRead(this.name, joined.seq);
    }
    if (this.#past === Infinity) {
      this.#past = joined.seq;
      // Should the newest have been removed meanwhile, it is not waited for.
      setTimeout(() => this.#begin(), joined.seq === 0 ? 0 : 2000);
    }
    if (joined.seq === 0) this.timeline.atStart = true;
    this.#members(joined);
    this.#changed('log');
  }

  #save() {
    clearTimeout(this.#saving);
    this.#saving = 0;
    if (this.read !== null) store.setRead(this.name, this.read);
  }

  #begin() {
    if (this.ready) return;
    this.ready = true;
    this.#changed('log');
  }

  /** @param {{count?: number, members?: {user: string}[]}} list */
  #members(list) {
    this.people = new Set((list.members ?? []).map((m) => m.user));
    this.count = list.count ?? this.people.size;
    this.#changed('people');
  }

  /** @param {{joined?: {user: string}[], left?: {user: string}[], members?: {user: string}[], count: number}} change */
  #presence(change) {
    if (change.members) return this.#members(change);
    for (const { user } of change.joined ?? []) this.people.add(user);
    for (const { user } of change.left ?? []) {
      this.people.delete(user);
      this.typing.delete(user);
    }
    this.count = change.count;
    if (this.count > NAMED) this.people.clear();
    // There are fewer than many again, or a change was lost.
    else if (this.people.size !== this.count) this.#ask();
    this.#changed('people');
  }

  /** Asks who is there, once for many changes. */
  #ask() {
    if (this.#asked || !this.#session.may('members', this.name)) return;
    this.#asked = true;
    setTimeout(async () => {
      try {
        this.#members(await this.#handle.members());
      } catch {
        // The next change or the next join tells.
      }
      this.#asked = false;
    }, 1000 + Math.random() * 1000);
  }

  /** @param {{from: string, body: any}} signal */
  #signal({ from, body }) {
    if (typeof body?.typing !== 'boolean' || from === this.#me()) return;
    if (body.typing) {
      this.typing.set(from, Date.now() + TYPING);
      if (this.typing.size > 50) this.typing.delete(/** @type {string} */ (this.typing.keys().next().value));
      setTimeout(() => this.#changed('typing'), TYPING + 50);
    } else this.typing.delete(from);
    this.#changed('typing');
  }

  /** @param {Error & {code: string}} error */
  #failed(error) {
    // A signal that was refused is not worth a word.
    if (this.ready && Date.now() - this.#signalled < TYPING) return;
    this.error = error.message;
    this.#changed('log');
  }

  /** @param {'log'|'unread'|'people'|'typing'} kind */
  #changed(kind) { this.dispatchEvent(new Event(kind)); }
}

/** Where the page is not a secure context there is no randomUUID. */
function randomId() {
  return [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, '0')).join('');
}
