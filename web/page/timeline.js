// A window on a room's log.

/** @typedef {{room: string, seq: number, prev: number, id: string, from: string, at: Date, type: string, body: any}} Message */
/** @typedef {{after: number, next: number}} Gap */
/** @typedef {{messages: Message[], more: boolean}} Page */
/** @typedef {(query: {before?: number, after?: number, limit: number}) => Promise<Page>} History */

/** How many messages a window holds, and the page has nodes for. */
export const WINDOW = 300;

/** How many are fetched at a time. */
const PAGE = 100;

/** How long to wait after a fetch that failed, in milliseconds. */
const PAUSE = 3000;

/** How many of the newest are kept beside the window, to close it up with the log's end again. */
const RECENT = 100;

/**
 * At most WINDOW messages of a room, by rising seq and without a hole. The window moves along the log:
 * what it loses at one end comes back from history.
 */
export class Timeline {
  /** @type {Message[]} */
  messages = [];
  /** @type {Gap[]} what the server no longer keeps */
  gaps = [];
  /** Whether there is nothing older, and whether the newest message is in the window. */
  atStart = false;
  atEnd = true;
  /** Whether the reader is at the end. If so the window moves with the log, otherwise it stays. */
  following = true;
  /** The newest seq the log is known to have. */
  newest = 0;
  /** @type {'older'|'newer'|'newest'|null} what is being fetched */
  loading = null;

  /** @type {Message[]} */
  #recent = [];
  #failed = -PAUSE;
  #history;
  #changed;

  /**
   * @param {History} history
   * @param {() => void} changed is called after the window has changed
   */
  constructor(history, changed) {
    this.#history = history;
    this.#changed = changed;
  }

  /**
   * Takes a live message. It tells whether it was new.
   * @param {Message} message
   */
  add(message) {
    if (message.seq <= this.newest) return false;
    this.newest = message.seq;
    this.#recent.push(message);
    if (this.#recent.length > RECENT) this.#recent.shift();
    if (!this.atEnd) return true;
    if (this.messages.length >= WINDOW && !this.following) {
      this.atEnd = false; // the reader is up there: what comes now is fetched when they come down
      this.#changed();
      return true;
    }
    this.messages.push(message);
    this.#trimStart();
    this.#changed();
    return true;
  }

  /** @param {Gap} gap */
  addGap(gap) {
    this.gaps.push(gap);
    if (this.gaps.length > 20) this.gaps.shift();
    this.#changed();
  }

  /** Fetches what comes before the window. */
  async older() {
    if (this.atStart || this.loading || this.#pausing) return;
    const first = this.messages[0]?.seq;
    await this.#fetch('older', first === undefined ? {} : { before: first }, (page) => {
      if (this.messages[0]?.seq !== first) return; // the window has moved on
      this.messages.unshift(...page.messages);
      this.atStart = !page.more;
      if (this.messages.length > WINDOW) {
        this.messages.length = WINDOW;
        this.atEnd = false;
      }
      if (first === undefined) this.#close();
    });
  }

  /** Fetches what comes behind the window. */
  async newer() {
    if (this.atEnd || this.loading || this.#pausing) return;
    const last = this.messages.at(-1)?.seq ?? 0;
    await this.#fetch('newer', { after: last }, (page) => {
      if (this.messages.at(-1)?.seq !== last) return;
      this.messages.push(...page.messages);
      this.#trimStart();
      if (!page.more) this.#close();
    });
  }

  /** Moves the window to the log's end. */
  async toEnd() {
    if (this.atEnd || this.loading === 'newest') return;
    await this.#fetch('newest', {}, (page) => {
      this.messages = page.messages;
      this.atStart = !page.more;
      this.#close();
    });
  }

  get #pausing() { return performance.now() - this.#failed < PAUSE; }

  /** Closes the window up with the log's end, if what is known of it reaches down to the window. */
  #close() {
    const last = this.messages.at(-1)?.seq ?? 0;
    const rest = this.#recent.filter((m) => m.seq > last);
    if (rest.length > 0 && rest[0].prev > last) return;
    this.messages.push(...rest);
    this.newest = Math.max(this.newest, this.messages.at(-1)?.seq ?? 0);
    this.atEnd = true;
    this.#trimStart();
  }

  #trimStart() {
    const over = this.messages.length - WINDOW;
    if (over <= 0) return;
    this.messages.splice(0, over);
    this.atStart = false;
  }

  /**
   * One fetch at a time; a jump to the end does not wait for another, whose page is then dropped.
   * @param {'older'|'newer'|'newest'} kind
   * @param {{before?: number, after?: number}} query
   * @param {(page: Page) => void} take
   */
  async #fetch(kind, query, take) {
    this.loading = kind;
    this.#changed();
    try {
      const page = await this.#history({ ...query, limit: PAGE });
      if (this.loading === kind) take(page);
    } catch (error) {
      this.#failed = performance.now();
      throw error;
    } finally {
      if (this.loading === kind) this.loading = null;
      this.#changed();
    }
  }
}
