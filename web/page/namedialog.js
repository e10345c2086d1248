// <parley-name>: asks what we want to be called, and for a token where the server asks for one.

import { h } from './dom.js';
import { store } from './store.js';

export class NameDialog extends HTMLElement {
  /** @type {import('./chat.js').Chat} */
  #chat;
  #name = h('input', { id: 'your-name', type: 'text', name: 'name', maxLength: 64, autocomplete: 'nickname', spellcheck: false });
  #token = h('input', { id: 'your-token', type: 'password', name: 'token', autocomplete: 'off' });
  #tokenField = h('label', { class: 'stack', hidden: true }, 'Token', this.#token);
  #title = h('h2', { id: 'name-title' });
  #text = h('p', {});
  #error = h('p', { class: 'failed', role: 'alert' });
  #skip = h('button', { type: 'button', class: 'quiet', onclick: () => this.#dialog.close() }, 'Cancel');
  #dialog = h('dialog', { 'aria-labelledby': 'name-title' },
    h('form', { class: 'card', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); void this.#take(); } },
      this.#title, this.#text,
      h('label', { class: 'stack' }, 'Your name', this.#name),
      this.#tokenField, this.#error,
      h('div', { class: 'buttons' }, this.#skip, h('button', { type: 'submit', class: 'primary' }, 'Go on'))));

  /** @param {import('./chat.js').Chat} chat */
  constructor(chat) {
    super();
    this.#chat = chat;
    this.#dialog.addEventListener('close', () => this.onclosed());
  }

  /** @type {() => void} */
  onclosed = () => {};

  connectedCallback() { this.append(this.#dialog); }

  /** @param {'welcome'|'rename'|'token'} why */
  ask(why) {
    // A server that asks for a token says so when the dialog may be open already.
    if (this.#dialog.open && why !== 'token') return;
    this.#title.textContent = why === 'welcome' ? 'Welcome to Parley' : why === 'token' ? 'Who are you?' : 'Change your name';
    this.#text.textContent = why === 'welcome' ? 'What should the others call you?'
      : why === 'token' ? 'This server asks for a token.'
        : 'What you said before keeps the name you said it under.';
    this.#skip.textContent = why === 'welcome' ? 'Stay a guest' : 'Cancel';
    this.#tokenField.hidden = why !== 'token';
    this.#error.textContent = '';
    this.#name.value = store.name ?? '';
    if (!this.#dialog.open) this.#dialog.showModal();
    const first = why === 'token' ? this.#token : this.#name;
    first.focus();
    first.select();
  }

  async #take() {
    const name = this.#name.value.trim().normalize('NFC');
    if (!this.#tokenField.hidden) {
      // The connection is made with it from its beginning.
      store.token = this.#token.value || null;
      if (name) store.name = name;
      location.reload();
      return;
    }
    if (name === '') return this.#name.focus();
    this.#dialog.close();
    try {
      await this.#chat.rename(name);
    } catch (error) {
      this.ask('rename');
      this.#name.value = name;
      this.#error.textContent = error instanceof Error ? error.message : String(error);
    }
  }
}
