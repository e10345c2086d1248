// <parley-name>: asks what we want to be called, where names are free.

import { h } from './dom.js';
import { store } from './store.js';

export class NameDialog extends HTMLElement {
  /** @type {import('./chat.js').Chat} */
  #chat;
  #name = h('input', { id: 'your-name', type: 'text', name: 'name', maxLength: 64, autocomplete: 'nickname', spellcheck: false });
  #title = h('h2', { id: 'name-title' });
  #text = h('p', {});
  #error = h('p', { class: 'failed', role: 'alert' });
  #skip = h('button', { type: 'button', class: 'quiet', onclick: () => this.#dialog.close() }, 'Cancel');
  #dialog = h('dialog', { 'aria-labelledby': 'name-title' },
    h('form', { class: 'card', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); void this.#take(); } },
      this.#title, this.#text,
      h('label', { class: 'stack' }, 'Your name', this.#name), this.#error,
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

  /** @param {'welcome'|'rename'} why */
  ask(why) {
    if (this.#dialog.open) return;
    this.#title.textContent = why === 'welcome' ? 'Welcome to Parley' : 'Change your name';
    this.#text.textContent = why === 'welcome' ? 'What should the others call you?'
      : 'What you said before keeps the name you said it under.';
    this.#skip.textContent = why === 'welcome' ? 'Stay a guest' : 'Cancel';
    this.#error.textContent = '';
    this.#name.value = store.name ?? '';
    this.#dialog.showModal();
    this.#name.focus();
    this.#name.select();
  }

  async #take() {
    const name = this.#name.value.trim().normalize('NFC');
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
