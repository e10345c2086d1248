// Dates and sizes as people read them, in the browser's language.

const clock = new Intl.DateTimeFormat(undefined, { timeStyle: 'short' });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: 'full', timeStyle: 'medium' });
const thisYear = new Intl.DateTimeFormat(undefined, { weekday: 'long', day: 'numeric', month: 'long' });
const otherYear = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'long', year: 'numeric' });
const short = new Intl.DateTimeFormat(undefined, { day: 'numeric', month: 'short' });
const number = new Intl.NumberFormat();

/** @param {Date} at */
export const time = (at) => clock.format(at);

/** @param {Date} at */
export const exact = (at) => full.format(at);

/** @param {number} n */
export const count = (n) => number.format(n);

/**
 * A number that tells days apart, in local time.
 * @param {Date} at
 */
export const dayOf = (at) => at.getFullYear() * 10000 + at.getMonth() * 100 + at.getDate();

/** @param {Date} at */
export function day(at) {
  const now = new Date();
  if (dayOf(at) === dayOf(now)) return 'Today';
  if (dayOf(at) === dayOf(new Date(now.getFullYear(), now.getMonth(), now.getDate() - 1))) return 'Yesterday';
  return (at.getFullYear() === now.getFullYear() ? thisYear : otherYear).format(at);
}

/**
 * The time today, the day before that.
 * @param {Date} at
 */
export const brief = (at) => (dayOf(at) === dayOf(new Date()) ? clock : short).format(at);

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  if (bytes < 1e6) return `${number.format(Math.round(bytes / 100) / 10)} kB`;
  return `${number.format(Math.round(bytes / 1e5) / 10)} MB`;
}
