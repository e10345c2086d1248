// What the browser remembers: a name, the theme, the rooms and how far each was read. Where
// storage is off, everything works and nothing is remembered.

/** @param {string} key */
function get(key) {
  try {
    return localStorage.getItem(`parley.${key}`);
  } catch {
    return null;
  }
}

/**
 * @param {string} key
 * @param {string|null} value
 */
function set(key, value) {
  try {
    if (value === null) localStorage.removeItem(`parley.${key}`);
    else localStorage.setItem(`parley.${key}`, value);
  } catch {
    // Full or forbidden: this page goes on without.
  }
}

export const store = {
  get name() { return get('name'); },
  set name(v) { set('name', v); },

  /** Of a guest: what the server called us, so that a reload is not somebody else. */
  get guest() { return get('guest'); },
  set guest(v) { set('guest', v); },

  get theme() { return get('theme'); },
  set theme(v) { set('theme', v); },

  /** The room shown last. */
  get room() { return get('room'); },
  set room(v) { set('room', v); },

  /** @returns {string[]} */
  get rooms() {
    try {
      const rooms = JSON.parse(get('rooms') ?? '[]');
      return Array.isArray(rooms) ? rooms.filter((r) => typeof r === 'string').slice(0, 60) : [];
    } catch {
      return [];
    }
  },
  set rooms(v) { set('rooms', JSON.stringify(v)); },

  /** @param {string} room the newest seq that was read of it; null if it was never open here */
  read(room) {
    const seq = get(`read.${room}`);
    return seq === null ? null : Number(seq) || 0;
  },

  /**
   * @param {string} room
   * @param {number|null} seq
   */
  setRead(room, seq) { set(`read.${room}`, seq === null ? null : String(seq)); },
};
