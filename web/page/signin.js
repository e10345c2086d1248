// <parley-signin>: where one says who one is, and sees who one is.

import { avatar } from './avatar.js';
import { h } from './dom.js';

export class SignIn extends HTMLElement {
  /** @type {import('./session.js').Session} */
  #session;
  #title = h('h2', { id: 'signin-title' });
  #text = h('p', {});
  #error = h('p', { class: 'failed', role: 'alert' });
  #token = h('input', {
    id: 'your-token', type: 'password', name: 'token', autocomplete: 'off', autocapitalize: 'none', spellcheck: false,
    placeholder: 'Paste it here', oninput: () => { this.#error.textContent = ''; },
  });
  #provider = h('a', { class: 'provider', href: '/login' }, 'Sign in at the provider');
  #go = h('button', { type: 'submit', class: 'primary' }, 'Sign in');
  #later = h('button', { type: 'button', class: 'quiet', onclick: () => this.#dialog.close() }, 'Not now');
  #field = h('label', { class: 'stack' }, 'Your token', this.#token);
  #or = h('details', { class: 'or' }, h('summary', {}, 'Sign in with a token'));
  #form = h('form', { class: 'card', onsubmit: (/** @type {Event} */ e) => { e.preventDefault(); void this.#take(); } },
    h('img', { class: 'emblem', src: '/page/favicon.svg', alt: '', width: 44, height: 44 }), this.#title, this.#text, this.#provider, this.#or, this.#field, this.#error, h('div', { class: 'buttons' }, this.#later, this.#go));
  #dialog = h('dialog', { 'aria-labelledby': 'signin-title' }, this.#form);

  /** @param {import('./session.js').Session} session */
  constructor(session) {
    super();
    this.#session = session;
    this.#dialog.addEventListener('cancel', (e) => { if (session.closed && !session.ended) e.preventDefault(); });
    this.#dialog.addEventListener('close', () => this.onclosed());
    session.addEventListener('change', () => { if (session.signedIn) this.#dialog.close(); });
  }

  /** @type {() => void} */
  onclosed = () => {};

  connectedCallback() { this.append(this.#dialog); }

  /** Asks who we are. */
  ask() {
    if (this.#dialog.open) return;
    const { closed, ended, who, failure } = this.#session;
    const must = closed && !ended;
    this.classList.toggle('alone', must);
    this.#title.textContent = ended ? 'Your session has ended' : must ? 'Sign in to Parley' : 'Sign in';
    this.#text.textContent = ended ? 'Sign in again to go on. What you have written is kept, and sent then.'
      : must ? `This server lets in only those it knows.${who.login === '' ? ' Whoever runs it can give you a token.' : ''}` : 'Those whom this server knows may do more here.';
    this.#later.hidden = must;
    this.#provider.hidden = who.login === '';
    this.#provider.textContent = `Sign in with ${who.login}`;
    // This page holds what was written, so it stays.
    this.#provider.target = ended ? '_blank' : '';
    this.#provider.rel = ended ? 'noopener' : '';
    this.#or.hidden = who.login === '';
    if (who.login === '') this.#text.after(this.#field);
    else this.#or.append(this.#field);
    this.#go.hidden = who.login !== '';
    this.#or.ontoggle = () => { this.#go.hidden = !this.#or.open; };
    this.#error.textContent = failure;
    this.#session.failure = '';
    this.#token.value = '';
    this.#dialog.showModal();
    (who.login === '' ? this.#token : this.#provider).focus();
  }

  async #take() {
    const token = this.#token.value.trim().replace(/^bearer\s+/i, '');
    if (token === '') return this.#token.focus();
    this.#go.disabled = true;
    try {
      await this.#session.signIn(token);
    } catch (error) {
      this.#error.textContent = sentence(error);
      this.#token.select();
    } finally {
      this.#go.disabled = false;
    }
  }
}

/** <parley-account>: who we are, until when, and the way out. */
export class Account extends HTMLElement {
  /** @type {import('./session.js').Session} */
  #session;
  #who = h('div', { class: 'who' });
  #until = h('p', {});
  #error = h('p', { class: 'failed', role: 'alert' });
  #dialog = h('dialog', { 'aria-labelledby': 'account-title' },
    h('form', { class: 'card', method: 'dialog' },
      h('h2', { id: 'account-title' }, 'You are signed in'), this.#who, this.#until, this.#error,
      h('div', { class: 'buttons' },
        h('button', { type: 'button', class: 'quiet', onclick: () => this.#leave() }, 'Sign out'),
        h('button', { type: 'button', class: 'primary', onclick: () => this.#dialog.close() }, 'Close'))));

  /** @param {import('./session.js').Session} session */
  constructor(session) {
    super();
    this.#session = session;
  }

  connectedCallback() { this.append(this.#dialog); }

  show() {
    const { user, name, expires } = this.#session.who;
    this.#who.replaceChildren(avatar(user), h('div', {}, h('strong', { dir: 'auto' }, name || user),
      name && name !== user ? h('span', { class: 'user', dir: 'auto' }, user) : null));
    this.#until.textContent = expires ? `Until ${until(new Date(expires))}. Then you will be asked again.` : '';
    this.#error.textContent = '';
    if (!this.#dialog.open) this.#dialog.showModal();
  }

  async #leave() {
    try {
      await this.#session.signOut();
    } catch (error) {
      this.#error.textContent = `You are still signed in: ${sentence(error)}`;
    }
  }
}

/** @param {Date} time */
function until(time) {
  const today = time.toDateString() === new Date().toDateString();
  return time.toLocaleString([], today ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' });
}

/** What went wrong, as a sentence. @param {unknown} error */
function sentence(error) {
  const text = error instanceof TypeError ? 'the server cannot be reached' : error instanceof Error ? error.message : String(error);
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?]$/.test(text) ? '' : '.'}`;
}
