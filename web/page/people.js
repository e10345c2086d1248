// <parley-people>: who is in the room; in a big one, how many.

import { avatar } from './avatar.js';
import { h, soon } from './dom.js';
import * as when from './when.js';

/** @typedef {import('./room.js').Room} Room */

export class People extends HTMLElement {
  /** @type {Room|null} */
  #room = null;
  #me = () => '';
  /** @type {AbortController|null} */
  #listening = null;
  #title = h('h2', {});
  #list = h('ul', {});
  #note = h('p', { class: 'note' });
  #draw = soon(() => this.#render());

  /** @type {(names: string[], count: number) => void} is called when who is there has changed */
  onchanged = () => {};

  connectedCallback() {
    this.id = 'people';
    this.setAttribute('role', 'complementary');
    this.setAttribute('aria-label', 'Who is here');
    this.append(this.#title, this.#list, this.#note);
  }

  /**
   * @param {Room} room
   * @param {() => string} me
   */
  show(room, me) {
    this.#listening?.abort();
    this.#listening = new AbortController();
    this.#room = room;
    this.#me = me;
    room.addEventListener('people', this.#draw, { signal: this.#listening.signal });
    this.#render();
  }

  #render() {
    const room = this.#room;
    if (!room) return;
    const me = this.#me();
    const names = [...room.people].sort((a, b) => Number(b === me) - Number(a === me) || a.localeCompare(b));
    this.#title.textContent = room.count === 1 ? '1 person here' : `${when.count(room.count)} people here`;
    this.#list.replaceChildren(...names.map((name) => h('li', {},
      avatar(name), h('span', { class: 'name', dir: 'auto' }, name), name === me && h('span', { class: 'you' }, 'you'))));
    const more = room.count - names.length;
    this.#note.textContent = more > 0 && names.length > 0 ? `and ${when.count(more)} more` : more > 0 ? 'Too many to list.' : '';
    this.onchanged(names, room.count);
  }
}
