// What stands in the log, as nodes: messages, what is on its way, and the lines between them.

import { avatar, hueOf } from './avatar.js';
import { h, icon } from './dom.js';
import { format, json } from './text.js';
import * as when from './when.js';

/** @typedef {import('./timeline.js').Message} Message */
/** @typedef {import('./room.js').Draft} Draft */

/** Beyond so many characters or lines a message is folded. */
const LONG = 3000;
const LINES = 40;

/**
 * @param {Message} message
 * @param {boolean} own whether we sent it
 * @param {boolean} head whether it begins a group: the name and the time stand above it
 */
export function messageNode(message, own, head) {
  return h('article', {
    class: `message${head ? ' head' : ''}${own ? ' own' : ''}`,
    data: { seq: message.seq, id: message.id },
    'aria-label': `${message.from}, ${when.time(message.at)}`,
  },
  head ? avatar(message.from) : h('span', { class: 'margin-time', 'aria-hidden': 'true' }, when.time(message.at)),
  h('div', { class: 'content' },
    head && by(message.from, message.at),
    bodyNode(message),
    own && h('span', { class: 'state', title: 'Stored', role: 'img', 'aria-label': 'stored' }, '✓')));
}

/**
 * @param {Draft} draft
 * @param {string} from
 * @param {boolean} head
 * @param {{retry: () => void, discard: () => void}} actions
 */
export function draftNode(draft, from, head, actions) {
  const { state } = draft;
  return h('article', { class: `message own draft${head ? ' head' : ''}`, data: { state }, 'aria-label': `${from}, ${state}` },
    head ? avatar(from) : h('span', { class: 'margin-time' }),
    h('div', { class: 'content' },
      head && by(from, draft.at),
      h('div', { class: 'body', dir: 'auto' }, format(draft.body)),
      state === 'stored' && h('span', { class: 'state', title: 'Stored', role: 'img', 'aria-label': 'stored' }, '✓'),
      state === 'sending' && h('span', { class: 'state', title: 'Sending', role: 'img', 'aria-label': 'sending' }, h('span', { class: 'spinner' })),
      state === 'failed' && h('p', { class: 'failed', role: 'alert' },
        `Not sent: ${draft.error}`,
        h('button', { class: 'small retry', type: 'button', onclick: actions.retry }, icon('retry'), 'Try again'),
        h('button', { class: 'small quiet', type: 'button', onclick: actions.discard }, 'Discard'))));
}

/**
 * @param {string} from
 * @param {Date} at
 */
function by(from, at) {
  return h('header', { class: 'by' },
    h('span', { class: 'from', dir: 'auto', vars: { '--hue': hueOf(from) } }, from),
    h('time', { dateTime: at.toISOString(), title: when.exact(at) }, when.time(at)));
}

/** @param {Message} message */
function bodyNode(message) {
  switch (message.type) {
    case 'json': return fold(h('div', { class: 'body' }, json(message.body)), JSON.stringify(message.body) ?? '');
    case 'binary': return h('div', { class: 'body' }, download(message));
    default: return fold(h('div', { class: 'body', dir: 'auto' }, format(String(message.body))), String(message.body));
  }
}

/**
 * A long body is folded, with a button to show it all.
 * @param {HTMLElement} body
 * @param {string} text
 */
function fold(body, text) {
  if (text.length < LONG && text.split('\n', LINES + 1).length <= LINES) return body;
  body.classList.add('folded');
  const button = h('button', {
    class: 'small quiet unfold', type: 'button', 'aria-expanded': 'false',
    onclick: () => {
      const folded = body.classList.toggle('folded');
      button.textContent = folded ? 'Show all' : 'Show less';
      button.setAttribute('aria-expanded', String(!folded));
    },
  }, 'Show all');
  return h('div', {}, body, button);
}

/** @param {Message} message */
function download(message) {
  const bytes = bytesOf(message.body);
  const name = `${message.room}-${message.seq}.bin`;
  return h('button', { class: 'download', type: 'button', 'aria-label': `Download ${name}, ${when.size(bytes.length)}`, onclick: () => save(name, bytes) },
    icon('file'), h('span', { class: 'file' }, name), h('span', { class: 'size' }, when.size(bytes.length)));
}

/**
 * @param {Uint8Array|ArrayBuffer|string} body base64 where it is a string
 * @returns {Uint8Array<ArrayBuffer>}
 */
function bytesOf(body) {
  if (typeof body === 'string') return Uint8Array.from(atob(body), (c) => c.charCodeAt(0));
  return new Uint8Array(body);
}

/**
 * @param {string} name
 * @param {Uint8Array<ArrayBuffer>} bytes
 */
function save(name, bytes) {
  // Never a type that a browser would show: what others send must not run as a page of this server.
  const url = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

/** @param {Date} at */
export function dayNode(at) {
  return h('div', { class: 'divider day', role: 'separator', 'aria-label': when.day(at) }, h('span', {}, when.day(at)));
}

export function unreadNode() {
  return h('div', { class: 'divider unread', role: 'separator', 'aria-label': 'New messages' }, h('span', {}, 'New'));
}

/** @param {import('./timeline.js').Gap} gap */
export function gapNode(gap) {
  const from = gap.after + 1;
  const to = gap.next - 1;
  const text = from >= to ? `Message ${from} is no longer kept` : `Messages ${from}–${to} are no longer kept`;
  return h('div', { class: 'divider gap', role: 'separator', 'aria-label': text }, h('span', {}, text));
}
