// <parley-sidebar>: the rooms one is in, and a box to join or create others.

import { Chat } from './chat.js';
import { h, icon, soon } from './dom.js';
import * as when from './when.js';

/** @typedef {import('./room.js').Room} Room */

export class Sidebar extends HTMLElement {
  /** @type {Chat} */
  #chat;
  #list = h('ul', { class: 'rooms' });
  #known = h('datalist', { id: 'known-rooms' });
  #error = h('p', { class: 'failed', id: 'join-error', role: 'alert' });
  #box = h('input', {
    type: 'text', name: 'room', placeholder: 'Join or create a room', 'aria-label': 'Join or create a room',
    autocomplete: 'off', autocapitalize: 'none', spellcheck: false, maxLength: 128, 'aria-describedby': 'join-error',
    onfocus: () => this.#suggest(), oninput: () => { this.#error.textContent = ''; },
  });

  /** @param {Chat} chat */
  constructor(chat) {
    super();
    this.#chat = chat;
    this.#box.setAttribute('list', 'known-rooms');
    const draw = soon(() => this.#render());
    for (const kind of ['rooms', 'who']) chat.addEventListener(kind, draw);
  }

  connectedCallback() {
    this.id = 'rooms';
    this.append(
      h('div', { class: 'brand' }, h('img', { src: '/page/favicon.svg', alt: '', width: 28, height: 28 }), h('h1', {}, 'Parley')),
      h('nav', { 'aria-label': 'Rooms' }, h('h2', {}, 'Rooms'), this.#list),
      h('form', { class: 'join', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); this.#join(); } },
        this.#error,
        h('div', { class: 'field' }, this.#box, this.#known,
          h('button', { type: 'submit', class: 'icon-button', 'aria-label': 'Join', title: 'Join' }, icon('plus')))));
    this.#render();
  }

  #join() {
    if (this.#box.value.trim() === '') return this.#box.focus();
    const name = Chat.nameOf(this.#box.value);
    if (!name) {
      this.#error.textContent = 'A room’s name has letters, digits, - and _, in parts with single dots between.';
      return;
    }
    this.#box.value = '';
    location.hash = encodeURIComponent(name);
  }

  async #suggest() {
    try {
      const names = await this.#chat.others();
      this.#known.replaceChildren(...names.map((value) => h('option', { value })));
    } catch {
      // Offline: one types the name.
    }
  }

  #render() {
    const focused = document.activeElement instanceof HTMLElement && this.#list.contains(document.activeElement)
      ? document.activeElement.dataset.room : undefined;
    this.#list.replaceChildren(...[...this.#chat.rooms.values()].map((room) => this.#item(room)));
    if (focused === undefined) return;
    for (const link of this.#list.querySelectorAll('a')) if (link.dataset.room === focused) link.focus();
  }

  /** @param {Room} room */
  #item(room) {
    const here = this.#chat.room === room;
    const n = room.unread;
    const { last } = room;
    return h('li', { class: `${here ? 'here' : ''}${n > 0 ? ' unread' : ''}` },
      h('a', {
        href: `#${encodeURIComponent(room.name)}`, data: { room: room.name },
        'aria-current': here ? 'page' : undefined,
        'aria-label': n > 0 ? `${room.name}, ${n} unread` : room.name,
      },
      h('span', { class: 'name' }, room.name),
      last && h('time', {}, when.brief(last.at)),
      h('span', { class: 'preview', dir: 'auto' }, last ? `${last.from === this.#chat.user ? 'You' : last.from}: ${glance(last)}` : 'No messages yet'),
      n > 0 && h('span', { class: 'badge' }, n > 99 ? '99+' : String(n))),
      h('button', { class: 'icon-button leave', type: 'button', 'aria-label': `Leave ${room.name}`, title: 'Leave', onclick: () => this.#leave(room) }, icon('close')));
  }

  /** @param {Room} room */
  #leave(room) {
    const here = this.#chat.room === room;
    const next = here ? this.#chat.neighbour(1) : null;
    this.#chat.leave(room.name);
    if (here) location.hash = encodeURIComponent(next && next !== room.name ? next : 'lobby');
  }
}

/** @param {import('./timeline.js').Message} message */
function glance(message) {
  if (message.type === 'binary') return 'a file';
  const text = message.type === 'json' ? JSON.stringify(message.body) : String(message.body);
  return text.slice(0, 80).replace(/\s+/gu, ' ');
}
