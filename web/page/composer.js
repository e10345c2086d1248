// <parley-composer>: the box one writes in, and who else is writing.

import { h, icon } from './dom.js';

/** @typedef {import('./room.js').Room} Room */

/** What a server takes unless it says otherwise: bytes of a body. */
const MOST = 65536;

export class Composer extends HTMLElement {
  /** @type {Room|null} */
  #room = null;
  /** @type {AbortController|null} */
  #listening = null;

  #box = h('textarea', {
    rows: 1, name: 'message', autocomplete: 'off', enterKeyHint: 'send', 'aria-describedby': 'reason typing',
    oninput: () => this.#typed(), onkeydown: (/** @type {KeyboardEvent} */ e) => this.#key(e),
    // Where a keyboard tells of the key and of its character apart.
    onkeypress: (/** @type {KeyboardEvent} */ e) => { if (e.key === 'Enter' && !e.shiftKey) e.preventDefault(); },
  });
  #send = h('button', { class: 'send', type: 'submit', 'aria-label': 'Send', title: 'Send (Enter)', disabled: true }, icon('send'));
  #typing = h('p', { class: 'typing', id: 'typing', 'aria-live': 'polite' });
  #error = h('p', { class: 'failed', role: 'alert' });
  #reason = h('p', { class: 'reason', id: 'reason' });
  #form = h('form', { onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); this.#submit(); } }, this.#box, this.#send);

  /** @type {() => void} is called when something was sent */
  onsent = () => {};
  /** @type {() => number|undefined} the most bytes of a body */
  limit = () => undefined;
  /** @type {(room: Room) => string} why nothing may be said in a room; empty where it may */
  refusal = () => '';

  connectedCallback() {
    this.append(this.#error, this.#reason, this.#form, this.#typing);
  }

  /** @param {Room} room */
  show(room) {
    this.#listening?.abort();
    this.#listening = new AbortController();
    this.#room = room;
    this.#box.value = room.text;
    this.permit();
    this.#box.setAttribute('aria-label', `Message to ${room.name}`);
    room.addEventListener('typing', () => this.#typers(), { signal: this.#listening.signal });
    this.#resize();
    this.#typers();
  }

  /** Offers what may be said. What stands in the box stays. */
  permit() {
    if (!this.#room) return;
    const reason = this.refusal(this.#room);
    if (this.#reason.textContent !== reason) this.#reason.textContent = reason;
    this.#form.classList.toggle('shut', reason !== '');
    this.#box.disabled = reason !== '';
    this.#box.placeholder = reason === '' ? `Message ${this.#room.name}` : '';
    this.#resize();
  }

  focus() { this.#box.focus({ preventScroll: true }); }

  /** @param {KeyboardEvent} e */
  #key(e) {
    // While an input method composes, Enter is its own.
    if (e.key !== 'Enter' || e.shiftKey || e.isComposing || e.keyCode === 229) return;
    e.preventDefault();
    this.#submit();
  }

  #typed() {
    if (!this.#room) return;
    this.#room.text = this.#box.value;
    this.#room.type(this.#box.value !== '');
    this.#resize();
  }

  #submit() {
    const text = this.#box.value.replace(/\s+$/u, '').replace(/^\n+/, '');
    if (!this.#room || this.#box.disabled || text === '' || this.#tooLong(text)) return;
    this.#room.type(false);
    this.#room.text = this.#box.value = '';
    this.#resize();
    this.#room.send(text);
    this.onsent();
  }

  /** @param {string} text */
  #tooLong(text) {
    const most = this.limit() ?? MOST;
    const over = text.length * 3 > most ? new TextEncoder().encode(text).length - most : 0;
    this.#error.textContent = over > 0 ? `This is ${over} bytes too long for one message.` : '';
    return over > 0;
  }

  #resize() {
    this.#tooLong(this.#box.value);
    this.#send.disabled = this.#box.disabled || this.#box.value.trim() === '';
    // Where CSS cannot size it by its content.
    if (CSS.supports('field-sizing', 'content')) return;
    this.#box.style.height = 'auto';
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }

  #typers() {
    const now = Date.now();
    const names = [];
    for (const [name, until] of this.#room?.typing ?? []) {
      if (until > now) names.push(name);
      else this.#room?.typing.delete(name);
    }
    const text = names.length === 0 ? ''
      : names.length === 1 ? `${names[0]} is typing`
        : names.length === 2 ? `${names[0]} and ${names[1]} are typing`
          : `${names.length} people are typing`;
    if (this.#typing.dataset.text === text) return;
    this.#typing.dataset.text = text;
    const dots = h('span', { class: 'dots', 'aria-hidden': 'true' }, h('i'), h('i'), h('i'));
    this.#typing.replaceChildren(...(text ? [dots, text] : []));
  }
}
