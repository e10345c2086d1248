// <parley-banner>: says when the connection is gone, when it comes back, and what was missed; and when the
// server can store nothing.

import { h } from './dom.js';

/** How long good news stays, in milliseconds. */
const STAYS = 5000;

export class Banner extends HTMLElement {
  /** @type {import('./chat.js').Chat} */
  #chat;
  #wasOffline = false;
  #caught = 0;
  #timer = 0;
  #ticking = 0;
  #said = h('span', { role: 'status', 'aria-live': 'polite' });
  // Counts down each second, which is to be seen and not to be read out.
  #clock = h('span', { class: 'clock', 'aria-hidden': 'true' });
  #signIn = h('button', { type: 'button', class: 'small', hidden: true, onclick: () => this.onsignin() }, 'Sign in again');

  /** @type {() => void} is called when somebody wants to sign in again */
  onsignin = () => {};

  /** @param {import('./chat.js').Chat} chat */
  constructor(chat) {
    super();
    this.#chat = chat;
    chat.addEventListener('status', () => this.#status());
    chat.addEventListener('caughtup', (e) => this.#caughtUp(/** @type {CustomEvent} */ (e).detail));
  }

  connectedCallback() {
    this.append(this.#said, this.#clock, this.#signIn);
    this.#status();
  }

  #status() {
    const { status, retryIn, error, unavailable } = this.#chat.status;
    clearInterval(this.#ticking);
    this.#clock.textContent = '';
    this.#signIn.hidden = !this.#chat.session.ended;
    if (this.#chat.session.ended) {
      this.#wasOffline = true;
      return this.#say('bad', 'Your session has ended. What you write is kept, and sent when you have signed in again.');
    }
    if (this.#chat.session.closed) return this.#hide();
    if (status === 'open' && unavailable) {
      this.#wasOffline = true;
      this.#caught = 0;
      return this.#say('bad', 'This server has lost touch with the others. What you write is kept, and sent when it is back.');
    }
    if (status === 'open') return this.#back();
    if (status === 'closed') return this.#say('bad', error?.message ? `Disconnected: ${error.message}` : 'Disconnected.');
    if (status === 'offline') this.#wasOffline = true;
    this.#caught = 0;
    clearTimeout(this.#timer);
    if (status === 'connecting' && !this.#wasOffline) {
      this.#timer = setTimeout(() => this.#say('wait', 'Connecting…'), 600);
      return;
    }
    this.#say('bad', 'You are offline. What you write is sent when the server is back.');
    if (status === 'connecting') this.#clock.textContent = 'Reconnecting…';
    else if (retryIn) this.#count(Date.now() + retryIn);
  }

  /** @param {number} until */
  #count(until) {
    const tick = () => {
      const left = Math.ceil((until - Date.now()) / 1000);
      this.#clock.textContent = left > 0 ? `Reconnecting in ${left} s` : 'Reconnecting…';
    };
    tick();
    this.#ticking = setInterval(tick, 500);
  }

  #back() {
    if (!this.#wasOffline) return this.#hide();
    this.#wasOffline = false;
    this.#news();
  }

  /** @param {number} messages */
  #caughtUp(messages) {
    this.#caught += messages ?? 0;
    if (this.dataset.kind === 'good') this.#news();
  }

  #news() {
    const n = this.#caught;
    this.#say('good', n === 0 ? 'Back online.' : `Back online, caught up ${n} ${n === 1 ? 'message' : 'messages'}.`);
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#hide(), STAYS);
  }

  /**
   * @param {'bad'|'wait'|'good'} kind
   * @param {string} text
   */
  #say(kind, text) {
    clearTimeout(this.#timer);
    this.dataset.kind = kind;
    if (this.#said.textContent !== text) this.#said.textContent = text;
  }

  #hide() {
    clearTimeout(this.#timer);
    delete this.dataset.kind;
    this.#said.textContent = '';
  }
}
