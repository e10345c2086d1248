// Who we are to this server, and what we may do there. It knows us by a cookie that no script can read.

import { ParleyError } from '/parley.js';

/** @typedef {{ rooms: string, may: string[] }} Grant */
/**
 * @typedef {{ user: string, name: string, grants: Grant[], expires: string | null, anonymous: boolean, auth: boolean,
 *   login: string }} Who
 */

/** Where nobody has to say who they are. @type {Who} */
const OPEN = {
  user: '', name: '', expires: null, anonymous: true, auth: false, login: '',
  grants: [{ rooms: '**', may: ['join', 'history', 'send', 'members', 'signal'] }],
};

/** Why a sign-in at a provider came to nothing, by the code that the server gives. */
const failures = /** @type {Record<string, string>} */ ({
  unauthorized: 'You were not signed in. Try it once more.',
  denied: 'You were signed in, but there is no name that you could have here.',
  unavailable: 'The sign-in cannot be reached just now. Try again in a while.',
  rate_limited: 'Too many tries. Wait a little and try again.',
});

/** Events: "change" (who we are, what we may do, or whether we have to sign in). */
export class Session extends EventTarget {
  who = OPEN;
  /** We were signed in, and are not any more. */
  ended = false;
  /** What went wrong at the provider, for people. */
  failure = '';

  #user = '';
  #asked = false; // just now, by the page
  #others = new BroadcastChannel('parley'); // the same browser's other pages

  constructor() {
    super();
    this.#others.onmessage = ({ data }) => {
      if (data === 'out' && this.#user) location.reload();
      else this.check();
    };
    document.addEventListener('visibilitychange', () => {
      if (!document.hidden && this.needed) this.check();
    });
  }

  /** Finds out who we are, before the page is shown. */
  async begin() {
    const at = new URL(location.href);
    const code = at.searchParams.get('signin');
    if (code !== null) {
      this.failure = failures[code] ?? failures.unauthorized;
      at.searchParams.delete('signin');
      history.replaceState(null, '', at);
    }
    await this.ask().catch(() => {}); // the client tries again
    this.#asked = true;
    if (this.#user) this.#others.postMessage('in');
  }

  get signedIn() { return !this.who.anonymous && !this.ended; }

  /** Nobody gets in who has not said who they are. */
  get closed() { return this.who.anonymous && this.who.grants.length === 0; }

  /** Nothing goes on before we have signed in. */
  get needed() { return this.ended || this.closed; }

  /** Asks the server who we are. */
  async ask() {
    const answer = await fetch('/session', { cache: 'no-store' });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    /** @type {Who} */
    const who = await answer.json();
    if (this.#user && !who.anonymous && who.user !== this.#user) {
      location.reload(); // what is written here is not another's
      return;
    }
    this.ended = this.#user !== '' && who.anonymous;
    if (!who.anonymous) this.#user = who.user;
    // What we could do before is offered until we are in again: it waits.
    this.who = this.ended ? { ...who, grants: this.who.grants } : who;
    this.dispatchEvent(new Event('change'));
  }

  /** Asks, where an answer is not needed now. */
  check() { this.ask().catch(() => {}); }

  /** Lets the client connect, or throws what keeps it from it. */
  async pass() {
    if (!this.#asked && this.who.auth) await this.ask();
    this.#asked = false;
    if (this.needed) throw new ParleyError('unauthorized', this.ended ? 'your session has ended' : 'you are not signed in');
    return undefined;
  }

  /**
   * Whether something may be done in a room.
   * @param {string} right
   * @param {string} room
   */
  may(right, room) { return this.who.grants.some(({ rooms, may }) => may.includes(right) && fits(rooms, room)); }

  /** A room to begin with. */
  get home() {
    if (this.may('join', 'lobby')) return 'lobby';
    return this.who.grants.find(({ rooms, may }) => may.includes('join') && !rooms.includes('*'))?.rooms ?? 'lobby';
  }

  /**
   * Signs in with a token. It throws what is wrong with it, in words for people.
   * @param {string} token
   */
  async signIn(token) {
    const answer = await fetch('/session', { method: 'POST', headers: { Authorization: `Bearer ${token}` } });
    if (!answer.ok) {
      const { detail } = await answer.json().catch(() => ({}));
      throw new Error(detail ?? `the server answers ${answer.status}`);
    }
    this.#others.postMessage('in');
    if (!this.#user) {
      location.reload(); // from the beginning, as who we are
      return;
    }
    await this.ask();
  }

  async signOut() {
    const answer = await fetch('/session', { method: 'DELETE' });
    if (!answer.ok) throw new Error(`the server answers ${answer.status}`);
    this.#others.postMessage('out');
    location.reload();
  }
}

/**
 * Whether a pattern stands for a room: * for one part, ** at the end for all that follows.
 * @param {string} pattern
 * @param {string} room
 */
function fits(pattern, room) {
  const [wanted, parts] = [pattern.split('.'), room.split('.')];
  for (const [i, part] of wanted.entries()) {
    if (part === '**') return parts.length > i;
    if (parts[i] === undefined || (part !== '*' && part !== parts[i])) return false;
  }
  return wanted.length === parts.length;
}
