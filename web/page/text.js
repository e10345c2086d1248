// Text of others as nodes: links, code, emphasis. Nothing that is written becomes markup; what is not
// recognised stands as it was typed.

import { h } from './dom.js';

/** Longer texts than this stay plain: nobody reads their emphasis. */
const formatted = 20_000;

const fence = /```(?:([\w+#.-]{1,20})?\n)?([\s\S]+?)```\n?/g;

// In this order: `code`, **strong**, *emphasis*, a link. Each looks no further than its own next
// delimiter, so a message made to be slow is not.
const inline = /`([^`\n]+)`|(?<![\w*])\*\*(?=\S)([^*\n]+)(?<=\S)\*\*(?![\w*])|(?<![\w*])\*(?=\S)([^*\n]+)(?<=\S)\*(?![\w*])|\bhttps?:\/\/[^\s<>"`]+/giu;

/**
 * @param {string} text
 * @returns {DocumentFragment}
 */
export function format(text) {
  const out = document.createDocumentFragment();
  if (text.length > formatted) {
    out.append(text);
    return out;
  }
  let from = 0;
  for (const match of text.matchAll(fence)) {
    out.append(...spans(text.slice(from, match.index).replace(/\n$/, '')));
    out.append(block(match[2].replace(/\n$/, '')));
    from = match.index + match[0].length;
  }
  out.append(...spans(text.slice(from)));
  return out;
}

/**
 * A block of code. It can be scrolled, so the keyboard must reach it.
 * @param {...(Node|string)} children
 */
export function block(...children) {
  return h('pre', { class: 'block', tabIndex: 0 }, h('code', {}, ...children));
}

/**
 * @param {string} text
 * @returns {(Node|string)[]}
 */
function spans(text) {
  /** @type {(Node|string)[]} */
  const out = [];
  let from = 0;
  for (const match of text.matchAll(inline)) {
    const [whole, code, strong, emphasis] = match;
    let end = match.index + whole.length;
    let node;
    if (code !== undefined) node = h('code', {}, code);
    else if (strong !== undefined) node = h('strong', {}, ...spans(strong));
    else if (emphasis !== undefined) node = h('em', {}, ...spans(emphasis));
    else {
      const url = trimmed(whole);
      end = match.index + url.length;
      node = link(url);
    }
    if (match.index > from) out.push(text.slice(from, match.index));
    out.push(node);
    from = end;
  }
  if (from < text.length) out.push(text.slice(from));
  return out;
}

/**
 * A URL without the punctuation of the sentence around it.
 * @param {string} url
 */
function trimmed(url) {
  const bare = url.replace(/[.,;:!?'*)\]}]+$/u, '');
  // A bracket that the URL itself opened belongs to it.
  return url[bare.length] === ')' && bare.includes('(') && !bare.includes(')') ? `${bare})` : bare;
}

/**
 * @param {string} text
 * @returns {Node|string}
 */
function link(text) {
  let url;
  try {
    url = new URL(text);
  } catch {
    return text;
  }
  if (url.protocol !== 'http:' && url.protocol !== 'https:') return text;
  return h('a', { href: url.href, target: '_blank', rel: 'noopener noreferrer nofollow' }, text);
}

const token = /("(?:[^"\\]|\\.)*")(\s*:)?|\b(?:true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

/**
 * A JSON value, indented, its parts coloured by kind.
 * @param {unknown} value
 */
export function json(value) {
  const text = JSON.stringify(value, null, 2) ?? String(value);
  if (text.length > formatted) return block(text);
  /** @type {(Node|string)[]} */
  const out = [];
  let from = 0;
  for (const match of text.matchAll(token)) {
    const [whole, string, colon] = match;
    const part = string ?? whole;
    const kind = colon !== undefined ? 'key' : string !== undefined ? 'string' : 'value';
    out.push(text.slice(from, match.index), h('span', { class: `json-${kind}` }, part));
    from = match.index + part.length;
  }
  out.push(text.slice(from));
  return block(...out);
}
