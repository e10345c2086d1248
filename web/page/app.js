// <parley-app>: the page. It puts the parts in their places, follows the address to a room, and
// knows the keys that work everywhere.

import { avatar } from './avatar.js';
import { Banner } from './banner.js';
import { Chat } from './chat.js';
import { Composer } from './composer.js';
import { h, icon, soon } from './dom.js';
import { Log } from './log.js';
import { NameDialog } from './namedialog.js';
import { People } from './people.js';
import { Session } from './session.js';
import { Sidebar } from './sidebar.js';
import { Account, SignIn } from './signin.js';
import { store } from './store.js';
import * as when from './when.js';

// Who we are decides what there is to show, so it is known first.
const session = new Session();
await session.begin();

class App extends HTMLElement {
  #chat = new Chat(session);
  #banner = new Banner(this.#chat);
  #log = new Log();
  #composer = new Composer();
  #sidebar = new Sidebar(this.#chat);
  #people = new People();
  #name = new NameDialog(this.#chat);
  #signIn = new SignIn(session);
  #account = new Account(session);

  #title = h('h2', { class: 'room-name' });
  #stack = h('span', { class: 'stack-of-avatars', 'aria-hidden': 'true' });
  #number = h('span', { class: 'number' });
  #menu = h('button', { class: 'icon-button menu', type: 'button', 'aria-controls': 'rooms', 'aria-expanded': 'false', onclick: () => this.#drawer(!this.classList.contains('drawer-open')) }, icon('menu'), h('span', { class: 'dot', hidden: true }));
  #here = h('button', { class: 'here-button', type: 'button', 'aria-controls': 'people', 'aria-expanded': 'false', onclick: () => this.#panel(!this.classList.contains('people-open')) }, this.#stack, icon('people'), this.#number);
  #theme = h('button', { class: 'icon-button theme', type: 'button', onclick: () => this.#turn() });
  #in = h('button', { class: 'sign-in', type: 'button', onclick: () => this.#signIn.ask() }, 'Sign in');
  #me = h('button', { class: 'me', type: 'button', onclick: () => (session.who.anonymous ? this.#name.ask('rename') : this.#account.show()) });

  connectedCallback() {
    this.append(
      h('a', { class: 'skip', href: '#', onclick: (/** @type {Event} */ e) => { e.preventDefault(); this.#composer.focus(); } }, 'To the message box'),
      this.#sidebar,
      h('div', { class: 'shade', onclick: () => this.#close() }),
      h('main', { 'aria-labelledby': 'room-title' },
        h('header', { class: 'bar' }, this.#menu, this.#title, this.#here, this.#theme, this.#in, this.#me),
        this.#banner, this.#log, this.#composer),
      this.#people, this.#name, this.#signIn, this.#account);
    this.#title.id = 'room-title';
    this.#listen();
    this.#who();
    this.#themed();
    this.#route();
    if (session.closed || session.failure) this.#signIn.ask();
    else if (session.who.anonymous && !store.name && !store.guest) this.#name.ask('welcome');
  }

  #listen() {
    const chat = this.#chat;
    chat.addEventListener('room', () => this.#show());
    chat.addEventListener('rooms', soon(() => this.#unread()));
    chat.addEventListener('who', () => this.#who());
    session.addEventListener('change', () => {
      this.#who();
      this.#composer.permit();
      if (session.closed && !session.ended) this.#signIn.ask();
    });
    this.#banner.onsignin = () => this.#signIn.ask();
    this.#signIn.onclosed = () => this.#composer.focus();
    this.#composer.refusal = (room) => refusal(room.name);
    this.#people.onchanged = (names, count) => this.#present(names, count);
    this.#composer.limit = () => chat.client.limits?.message;
    this.#composer.onsent = () => this.#log.toEnd();
    this.#name.onclosed = () => this.#composer.focus();
    window.addEventListener('hashchange', () => this.#route());
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.#themed());
    document.addEventListener('keydown', (e) => this.#key(e));
  }

  /** Goes to the room that the address names. */
  #route() {
    if (session.closed && !session.ended) return; // no room is any of ours
    const asked = fragment();
    const name = Chat.nameOf(asked) ?? mine(Chat.nameOf(store.room ?? '')) ?? session.home;
    if (asked !== name) history.replaceState(null, '', `#${encodeURIComponent(name)}`);
    this.#chat.open(name);
  }

  #show() {
    const room = this.#chat.room;
    if (!room) return;
    const me = () => this.#chat.user;
    this.#title.textContent = room.name;
    this.#log.show(room, this.#chat.user);
    this.#composer.show(room);
    this.#people.show(room, me);
    this.#drawer(false);
    // On a touch screen this would call up the keyboard.
    if (matchMedia('(hover: hover)').matches) this.#composer.focus();
  }

  #unread() {
    const n = this.#chat.unread;
    document.title = `${n > 0 ? `(${n > 99 ? '99+' : n}) ` : ''}${this.#chat.room?.name ?? ''} · Parley`;
    /** @type {HTMLElement} */ (this.#menu.lastChild).hidden = n - (this.#chat.room?.unread ?? 0) <= 0;
    this.#menu.setAttribute('aria-label', n > 0 ? `Rooms, ${n} unread` : 'Rooms');
  }

  #who() {
    const name = this.#chat.user || 'guest';
    this.#me.replaceChildren(avatar(name), h('span', { class: 'name', dir: 'auto' }, name));
    const free = session.who.anonymous;
    this.#me.title = free ? 'Change your name' : 'Who you are';
    this.#me.setAttribute('aria-label', free ? `You are ${name}. Change your name` : `You are signed in as ${name}`);
    this.#in.hidden = !session.who.auth || !free || session.needed;
    this.#log.renamed(this.#chat.user);
    if (this.#chat.room) this.#people.show(this.#chat.room, () => this.#chat.user);
  }

  /**
   * @param {string[]} names
   * @param {number} count
   */
  #present(names, count) {
    this.#stack.replaceChildren(...names.slice(0, 4).map(avatar));
    this.#number.textContent = when.count(count);
    this.#here.setAttribute('aria-label', `Who is here: ${count}`);
  }

  /** @param {KeyboardEvent} e */
  #key(e) {
    if (e.isComposing) return;
    if (e.altKey && (e.key === 'ArrowUp' || e.key === 'ArrowDown')) {
      e.preventDefault();
      const name = this.#chat.neighbour(e.key === 'ArrowUp' ? -1 : 1);
      if (name) location.hash = encodeURIComponent(name);
    } else if (e.key === 'Escape' && !this.querySelector('dialog[open]')) {
      if (!this.#close()) this.#log.toEnd();
      this.#composer.focus();
    } else if ((e.key === 'PageUp' || e.key === 'PageDown') && e.target instanceof HTMLTextAreaElement) {
      e.preventDefault();
      this.#log.page(e.key === 'PageUp' ? -1 : 1);
    }
  }

  /** Closes what lies above the messages; it tells whether something did. */
  #close() {
    const open = this.classList.contains('drawer-open') || this.classList.contains('people-open');
    this.#drawer(false);
    this.#panel(false);
    return open;
  }

  /** @param {boolean} open */
  #drawer(open) {
    this.classList.toggle('drawer-open', open);
    this.#menu.setAttribute('aria-expanded', String(open));
    if (open) /** @type {HTMLElement|null} */ (this.#sidebar.querySelector('a[aria-current], a, input'))?.focus();
  }

  /** @param {boolean} open */
  #panel(open) {
    this.classList.toggle('people-open', open);
    this.#here.setAttribute('aria-expanded', String(open));
  }

  get #dark() {
    return store.theme ? store.theme === 'dark' : matchMedia('(prefers-color-scheme: dark)').matches;
  }

  /** To the other theme; back to the system's own where that is the same. */
  #turn() {
    const dark = !this.#dark;
    store.theme = dark === matchMedia('(prefers-color-scheme: dark)').matches ? null : dark ? 'dark' : 'light';
    if (store.theme) document.documentElement.dataset.theme = store.theme;
    else delete document.documentElement.dataset.theme;
    this.#themed();
  }

  #themed() {
    const to = this.#dark ? 'light' : 'dark';
    this.#theme.replaceChildren(icon(this.#dark ? 'sun' : 'moon'));
    this.#theme.setAttribute('aria-label', `Use the ${to} theme`);
    this.#theme.title = `Use the ${to} theme`;
  }
}

/** A room, unless it may not be joined. @param {string|null} name */
function mine(name) { return name !== null && session.may('join', name) ? name : null; }

/** Why one may not say anything in a room; empty where one may. @param {string} room */
function refusal(room) {
  if (session.may('send', room)) return '';
  if (session.who.anonymous && session.who.auth && !session.ended) return `Sign in to write in ${room}.`;
  return session.may('join', room) ? `You may read ${room}, and not write in it.` : `You may not join ${room}.`;
}

/** What stands behind the # of the address. */
function fragment() {
  try {
    return decodeURIComponent(location.hash.slice(1));
  } catch {
    return ''; // half an escape
  }
}

customElements.define('parley-log', Log);
customElements.define('parley-composer', Composer);
customElements.define('parley-sidebar', Sidebar);
customElements.define('parley-people', People);
customElements.define('parley-banner', Banner);
customElements.define('parley-name', NameDialog);
customElements.define('parley-signin', SignIn);
customElements.define('parley-account', Account);
customElements.define('parley-app', App);
