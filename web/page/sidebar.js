// <parley-sidebar>: the rooms one is in, and a box to join or create others.

import { Chat } from './chat.js';
import { h, icon, soon } from './dom.js';
import * as when from './when.js';

/** @typedef {import('./room.js').Room} Room */

export class Sidebar extends HTMLElement {
  /** @type {Chat} */
  #chat;
  /** @type {Map<Room, Item>} */
  #items = new Map();
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
    if (!this.#chat.session.may('join', name)) {
      this.#error.textContent = `You may not join ${name}.`;
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
    const wanted = [...this.#chat.rooms.values()].map((room) => {
      const item = this.#items.get(room) ?? new Item(room, () => this.#leave(room));
      this.#items.set(room, item);
      item.update(room === this.#chat.room, this.#chat.user);
      return item.node;
    });
    for (const [room, item] of this.#items) {
      if (this.#chat.rooms.get(room.name) === room) continue;
      item.node.remove();
      this.#items.delete(room);
    }
    // They are in the order they were joined in, so a new one comes last.
    for (const node of wanted) if (node.parentNode !== this.#list) this.#list.append(node);
  }

  /** @param {Room} room */
  #leave(room) {
    const here = this.#chat.room === room;
    const next = here ? this.#chat.neighbour(1) : null;
    this.#chat.leave(room.name);
    if (here) location.hash = encodeURIComponent(next && next !== room.name ? next : this.#chat.session.home);
  }
}

/** A room's line. It stays while what it shows changes, so that it can be clicked in a busy room. */
class Item {
  #room;
  #time = h('time');
  #preview = h('span', { class: 'preview', dir: 'auto' });
  #badge = h('span', { class: 'badge', hidden: true });
  #link;
  node;

  /**
   * @param {Room} room
   * @param {() => void} leave
   */
  constructor(room, leave) {
    this.#room = room;
    this.#link = h('a', { href: `#${encodeURIComponent(room.name)}` },
      h('span', { class: 'name' }, room.name), this.#time, this.#preview, this.#badge);
    this.node = h('li', {}, this.#link,
      h('button', { class: 'icon-button leave', type: 'button', 'aria-label': `Leave ${room.name}`, title: 'Leave', onclick: leave }, icon('close')));
  }

  /**
   * @param {boolean} here
   * @param {string} me
   */
  update(here, me) {
    const { name, unread, last } = this.#room;
    this.node.className = `${here ? 'here' : ''}${unread > 0 ? ' unread' : ''}`;
    if (here) this.#link.setAttribute('aria-current', 'page');
    else this.#link.removeAttribute('aria-current');
    this.#link.setAttribute('aria-label', unread > 0 ? `${name}, ${unread} unread` : name);
    this.#time.textContent = last ? when.brief(last.at) : '';
    this.#preview.textContent = last ? `${last.from === me ? 'You' : last.from}: ${glance(last)}` : 'No messages yet';
    this.#badge.hidden = unread === 0;
    this.#badge.textContent = unread > 99 ? '99+' : String(unread);
  }
}

/** @param {import('./timeline.js').Message} message */
function glance(message) {
  if (message.type === 'binary') return 'a file';
  const text = message.type === 'json' ? JSON.stringify(message.body) : String(message.body);
  return text.slice(0, 80).replace(/\s+/gu, ' ');
}
