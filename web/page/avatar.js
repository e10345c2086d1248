// A person as a coloured disc with initials: the same name has the same colour everywhere.

import { h } from './dom.js';

/** Hues that stay apart from one another, and from the colour of errors. */
const hues = [45, 75, 105, 135, 160, 185, 210, 235, 260, 285, 310, 340];

/** @param {string} name */
export function hueOf(name) {
  let hash = 2166136261;
  for (const c of name) hash = Math.imul(hash ^ /** @type {number} */ (c.codePointAt(0)), 16777619);
  hash = Math.imul(hash ^ (hash >>> 16), 2246822507);
  return hues[((hash ^ (hash >>> 13)) >>> 0) % hues.length];
}

/** @param {string} name */
export function initials(name) {
  const words = name.split(/[\s._-]+/u).filter((w) => /[\p{L}\p{N}]/u.test(w));
  const letters = words.length > 1
    ? [...words[0]][0] + [...words[words.length - 1]][0]
    : [...(words[0] ?? name)].slice(0, 2).join('');
  return letters.toLocaleUpperCase();
}

/** @param {string} name */
export function avatar(name) {
  return h('span', { class: 'avatar', 'aria-hidden': 'true', vars: { '--hue': hueOf(name) } }, initials(name));
}
