// <parley-log>: the messages of the room shown, and where the reader is in them.

import { h, icon, soon } from './dom.js';
import * as nodes from './message.js';
import * as when from './when.js';

/** @typedef {import('./room.js').Room} Room */
/** @typedef {import('./timeline.js').Message} Message */

/** How far from an end of the window, in pixels, more is fetched. */
const NEAR = 1500;

/** How close to the end, in pixels, counts as being there. */
const END = 48;

/** After how long a sender's next message begins a new group, in milliseconds. */
const PAUSE = 5 * 60_000;

export class Log extends HTMLElement {
  /** @type {Room|null} */
  #room = null;
  /** @type {AbortController|null} of the listeners on the room */
  #listening = null;
  #me = '';
  /** @type {Map<string, HTMLElement>} what stands in the list, by what it is */
  #nodes = new Map();
  /** Set while a room has just been opened: where to begin is decided by the first drawing. */
  #fresh = true;
  /** The newest seq when the reader left the end: what came behind it is counted on the button. */
  #left = 0;

  #list = h('div', { class: 'messages' });
  #start = h('p', { class: 'start' });
  #scroller = h('div', {
    class: 'scroller', role: 'log', tabIndex: 0, 'aria-label': 'Messages', 'aria-live': 'polite', 'aria-relevant': 'additions',
  }, this.#start, this.#list);
  #below = h('span', {});
  #jump = h('button', { class: 'jump', type: 'button', hidden: true, onclick: () => this.toEnd() }, icon('down'), this.#below);
  #draw = soon(() => this.#render());

  connectedCallback() {
    this.append(this.#scroller, this.#jump);
    this.#scroller.addEventListener('scroll', () => this.#scrolled(), { passive: true });
    // The box grew, the window turned, a phone's keyboard came: whoever was at the end stays there.
    new ResizeObserver(() => this.#stick()).observe(this.#scroller);
    document.addEventListener('visibilitychange', () => this.#watch());
  }

  /**
   * @param {Room} room
   * @param {string} me
   */
  show(room, me) {
    this.#listening?.abort();
    this.#listening = new AbortController();
    if (this.#room) this.#room.timeline.following = true;
    this.#room = room;
    this.#me = me;
    this.#nodes.clear();
    this.#list.replaceChildren();
    this.#fresh = true;
    for (const kind of ['log', 'unread']) room.addEventListener(kind, this.#draw, { signal: this.#listening.signal });
    room.timeline.following = true;
    this.#scroller.setAttribute('aria-label', `Messages in ${room.name}`);
    void room.timeline.toEnd().catch(() => {});
    this.#render();
  }

  /**
   * Our name may have changed, and with it what is ours.
   * @param {string} me
   */
  renamed(me) {
    if (me === this.#me) return;
    this.#me = me;
    this.#nodes.clear();
    this.#draw();
  }

  /** Goes to the newest message. */
  toEnd() {
    const room = this.#room;
    if (!room) return;
    room.timeline.following = true;
    if (room.timeline.atEnd) return this.#render();
    room.timeline.toEnd().then(() => {
      if (room !== this.#room) return;
      room.timeline.following = true;
      this.#render();
    }, () => {});
  }

  /** @param {number} pages scrolls by so many screens */
  page(pages) { this.#scroller.scrollBy({ top: pages * this.#scroller.clientHeight * 0.85 }); }

  get atEnd() {
    const s = this.#scroller;
    return (this.#room?.timeline.atEnd ?? true) && s.scrollHeight - s.scrollTop - s.clientHeight <= END;
  }

  #scrolled() {
    const room = this.#room;
    if (!room || this.#fresh) return;
    const { timeline } = room;
    const was = timeline.following;
    timeline.following = this.atEnd;
    if (was && !timeline.following) this.#left = timeline.newest;
    this.#watch();
    this.#fetch();
    this.#count();
  }

  /** Fetches what is about to come into view. */
  #fetch() {
    const { timeline } = /** @type {Room} */ (this.#room);
    const s = this.#scroller;
    if (s.scrollTop < NEAR && !timeline.atStart) timeline.older().catch(() => {});
    else if (s.scrollHeight - s.scrollTop - s.clientHeight < NEAR && !timeline.atEnd) timeline.newer().catch(() => {});
  }

  #stick() {
    if (this.#room?.timeline.following) this.#scroller.scrollTop = this.#scroller.scrollHeight;
    this.#watch();
  }

  #watch() {
    if (this.#room && !this.#fresh) this.#room.watched = !document.hidden && this.#room.timeline.following;
  }

  /** The button to the newest message. */
  #count() {
    const room = /** @type {Room} */ (this.#room);
    const { timeline } = room;
    this.#jump.hidden = timeline.following;
    if (timeline.following) return;
    const n = timeline.newest > this.#left ? room.unread : 0;
    this.#below.textContent = n > 0 ? `${when.count(n)} new` : '';
    this.#jump.setAttribute('aria-label', n > 0 ? `${n} new messages, go to the newest` : 'Go to the newest message');
  }

  #render() {
    const room = this.#room;
    if (!room) return;
    const { timeline } = room;
    const stick = timeline.following && timeline.atEnd;
    const anchor = stick ? null : this.#anchor();

    this.#scroller.setAttribute('aria-busy', String(timeline.loading !== null));
    this.#intro(room);
    this.#sync(this.#wanted(room));

    const s = this.#scroller;
    // A room that was left far up goes back to its end first.
    if (this.#fresh && room.ready && timeline.loading !== 'newest') this.#begin(room);
    else if (stick) s.scrollTop = s.scrollHeight;
    else if (anchor?.node.isConnected) s.scrollTop += anchor.node.getBoundingClientRect().top - anchor.top;
    this.#watch();
    this.#count();
    if (!this.#fresh) this.#fetch();
  }

  /**
   * Where one begins to read: at the line above what is new, if there is any, or at the end.
   * @param {Room} room
   */
  #begin(room) {
    this.#fresh = false;
    const s = this.#scroller;
    s.scrollTop = s.scrollHeight;
    const line = this.#nodes.get('unread');
    if (line) {
      const above = line.getBoundingClientRect().top - s.getBoundingClientRect().top;
      if (above < 0) s.scrollTop += above - s.clientHeight / 4;
    }
    room.timeline.following = this.atEnd;
    this.#left = 0;
  }

  /** @param {Room} room */
  #intro(room) {
    const { timeline } = room;
    this.#start.textContent = room.error ? `You are not in ${room.name}: ${room.error}`
      : !room.past ? 'You see here what is said from now on.'
        : timeline.loading === 'older' ? 'Fetching what came before…'
          : !timeline.atStart ? ''
            : timeline.messages.length === 0 ? 'Nobody has said anything here yet.'
              : `This is where ${room.name} begins.`;
  }

  /** The first message in view, and where it is: it must not move when others come above it. */
  #anchor() {
    const top = this.#scroller.getBoundingClientRect().top;
    const children = this.#list.children;
    // They stand in order, so the first below the edge is found by halving.
    let low = 0;
    let high = children.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (children[middle].getBoundingClientRect().bottom > top) high = middle;
      else low = middle + 1;
    }
    for (let i = low; i < children.length; i++) {
      if (children[i].classList.contains('message')) return { node: children[i], top: children[i].getBoundingClientRect().top };
    }
    return null;
  }

  /**
   * The nodes that are to stand in the list, old ones where there are.
   * @param {Room} room
   * @returns {Map<string, HTMLElement>}
   */
  #wanted(room) {
    const { timeline } = room;
    /** @type {Map<string, HTMLElement>} */
    const wanted = new Map();
    const put = (/** @type {string} */ key, /** @type {() => HTMLElement} */ make) => wanted.set(key, this.#nodes.get(key) ?? make());

    /** @type {Message|null} */
    let before = null;
    for (const m of timeline.messages) {
      const gap = timeline.gaps.find((g) => m.seq >= g.next && (before ? before.seq <= g.after : timeline.atStart));
      if (gap) put(`gap ${gap.next}`, () => nodes.gapNode(gap));
      const newDay = !before || when.dayOf(before.at) !== when.dayOf(m.at);
      if (newDay) put(`day ${when.dayOf(m.at)} ${before ? m.seq : 0}`, () => nodes.dayNode(m.at));
      const { divider } = room;
      const divides = divider !== null && m.seq > divider && (before ? before.seq <= divider : timeline.atStart);
      if (divides) put('unread', nodes.unreadNode);
      const head = newDay || divides || gap !== undefined || before?.from !== m.from || m.at.getTime() - before.at.getTime() > PAUSE;
      put(`${m.seq} ${head}`, () => nodes.messageNode(m, m.from === this.#me, head));
      before = m;
    }
    const gone = timeline.atEnd && timeline.gaps.find((g) => g.next > (before?.seq ?? 0));
    if (gone) put(`gap ${gone.next}`, () => nodes.gapNode(gone));
    if (!timeline.atEnd) return wanted;
    let head = before?.from !== this.#me || Date.now() - before.at.getTime() > PAUSE;
    for (const d of room.drafts) {
      put(`draft ${d.id} ${d.state}`, () => nodes.draftNode(d, this.#me || 'you', head, {
        retry: () => room.retry(d), discard: () => room.discard(d),
      }));
      head = false;
    }
    return wanted;
  }

  /**
   * Makes the list what is wanted, touching only what differs.
   * @param {Map<string, HTMLElement>} wanted
   */
  #sync(wanted) {
    for (const [key, node] of this.#nodes) if (wanted.get(key) !== node) node.remove();
    const keep = new Set(wanted.values());
    for (const node of [...this.#list.children]) if (!keep.has(/** @type {HTMLElement} */ (node))) node.remove();
    let at = this.#list.firstChild;
    for (const node of wanted.values()) {
      if (at === node) at = at.nextSibling;
      else this.#list.insertBefore(node, at);
    }
    this.#nodes = wanted;
  }
}
