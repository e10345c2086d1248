// @ts-check
/**
 * The JavaScript client of Parley: it sends messages to rooms, reads them from rooms, and stays
 * connected while servers come and go. For browsers, and for Node from version 22.
 *
 *     const client = connect('http://127.0.0.1:8080', { name: 'ada' });
 *     const lobby = client.room('lobby', { last: 20 });
 *     await lobby.send('hello');
 *     for await (const m of lobby) console.log(m.from, m.body);
 *
 * How it is built, from below: a Link is one WebSocket, from its hello to its end. A Core makes
 * one link after another. What must outlive a link is kept outside of it: messages that are not
 * acknowledged in the Outbox, a position in each Subscription, jobs and questions in each Duty.
 * Client, Room and Service are what programs see. Every buffer here has a bound.
 *
 * The protocol is described in docs/protocol.md; nothing here knows how a server works.
 */

/**
 * @typedef {'connecting' | 'open' | 'offline' | 'closed'} Status
 *   offline: waiting to try again; closed: for good
 * @typedef {'text' | 'json' | 'binary'} BodyType
 * @typedef {{ message: number, frame: number, inflight: number, rooms: number, dedupe_ms: number }} Limits
 * @typedef {{ user: string }} Member
 * @typedef {{ room: string, seq: number, messages: number, members: number }} RoomInfo
 * @typedef {{ group: string, pending: number, taken: number, dead: number, sessions: number }} GroupInfo
 *   pending: jobs that are not finished; taken: of these, those that a worker holds; dead: dead letters that
 *   it has made since it began; sessions: that take from it
 * @typedef {{ reader: string, seq: number }} ReaderInfo seq: up to which it has dealt with the room
 * @typedef {{ hook: string, to: string, rooms: string[], pending: number, lag: number, sent: number, dead: number,
 *   gone: boolean, lastSuccess?: Date, failingSince?: Date, why?: string }} HookInfo
 *   to: scheme and host of its URL; pending: rooms with messages still to be posted; lag: the age of the
 *   oldest of these, in milliseconds; sent, dead: since the server started; gone: it wants nothing any more
 *
 * @typedef {object} Message
 * @property {string} room
 * @property {number} seq its position in the room
 * @property {number} prev the seq of the room's message before it
 * @property {string} id as its sender gave it
 * @property {string} from the sender, in the server's word
 * @property {Date} at when the server took it
 * @property {BodyType} type
 * @property {any} body a string, the JSON value, or a Uint8Array
 *
 * @typedef {{ room: string, seq: number, id: string, duplicate: boolean }} Receipt
 *   says that a message is durable, and where, 0 if it is due later; duplicate: it was there before,
 *   under this id
 * @typedef {number | string} Duration milliseconds, or such as '10s' and '1h30m'
 *
 * @typedef {object} SendOptions
 * @property {BodyType} [type] what the body is; it shows by itself
 * @property {string} [id] the key under which the message is stored once
 * @property {Duration} [delay] the server keeps the message so long, from when it takes it
 * @property {string | Date} [due] or until this time
 * @property {Duration} [ttl] a worker is given it within this time or never
 * @property {string} [key] workers do the jobs of one key one at a time, in order
 * @property {number} [priority] 0 to 9: workers are given those with a higher one first; 0
 *
 * @typedef {Message & { group: string, job: string, tries: number, deadline: number }} Job
 *   job: how the server calls it; tries: 1 = given out for the first time; deadline: in milliseconds
 * @typedef {{ room: string, question: string, from: string, type: BodyType, body: any, until: Date }} Question
 *   until: then nobody waits for an answer any more
 * @typedef {{ room: string, from: string, type: BodyType, body: any }} Answer
 *
 * @typedef {object} WorkOptions at most one of after, last and since: where a group begins that is
 *   not there yet; none = with the oldest message left
 * @property {number} [parallel] jobs to handle at a time, 1 to 256; 1
 * @property {number} [prefetch] jobs to hold, those being handled included; as many as are handled at a time
 * @property {Duration} [deadline] the silence after which a job is taken from this worker, not the
 *   time that its handler may take; 30 s
 * @property {number} [tries] how often a job is given out before it is a dead letter; 5
 * @property {number} [after] begin behind the message with this seq; 0 = with the oldest
 * @property {number} [last] begin with this many of the newest
 * @property {string | Date} [since] begin with those not older
 * @property {AbortSignal} [signal] stops the work
 * @typedef {{ parallel?: number, signal?: AbortSignal }} AnswerOptions parallel: questions to handle
 *   at a time; 16
 * @typedef {object} AskOptions
 * @property {BodyType} [type]
 * @property {Duration} [timeout] how long to wait for answers, 50 s at most; 5 s
 * @property {AbortSignal} [signal] gives up
 *
 * @typedef {object} Options
 * @property {string | (() => string | undefined | Promise<string | undefined>)} [token] a function is called for each
 *   try, and a little before the token that it gave ends; none, where a cookie says who one is
 * @property {string} [name] to go by, where the server does not take it from the token
 * @property {new (url: string, protocols: string[]) => WebSocket} [WebSocket] the global one, if
 *   none is given
 * @property {number} [outbox] how many messages may wait for their ack; 1,000
 * @property {number} [dedupe] milliseconds for which a server that does not say so itself knows
 *   an id; 600,000
 * @property {AbortSignal} [signal] closes the client
 *
 * @typedef {object} RoomOptions at most one of after, last and since; none = from now on
 * @property {number} [after] begin behind the message with this seq; 0 = with the oldest
 * @property {number} [last] begin with this many of the newest
 * @property {string | Date} [since] begin with those not older: '10m', '24h', or a time
 * @property {string} [cursor] of a pattern: begin behind what came in front of this, as a cursor event gave it
 * @property {boolean} [presence] tell of members that come and go; false
 * @property {boolean} [echo] whether to get what this client sends; true
 * @property {string} [reader] the durable reader to go on as: the server remembers where it is, and
 *   after, last and since count only if it does not know it yet
 * @property {boolean} [autoDone] whether a reader's loop says done of each message when it asks for
 *   the next; true
 * @property {boolean} [join] false: for sending, working and asking alone, without being in the room
 *
 * @typedef {object} ClientEvents
 * @property {{ status: Status, retryIn?: number, error?: ParleyError, unavailable?: string }} status
 *   retryIn: in milliseconds, if it is offline; unavailable: why the server, though it is there, stores
 *   nothing for now, as it tells those who are in a room
 * @property {{ user: string, session: string, limits: Limits }} welcome of each connection
 * @property {ParleyError} error one that rejects no promise
 *
 * @typedef {object} RoomEvents
 * @property {Message} message
 * @property {{ after: number, next: number, room?: string }} gap messages between these two seqs are gone, or may be;
 *   of a pattern, in this room
 * @property {{ cursor: string }} cursor of a pattern: where it is, behind the messages so far; now and then
 * @property {{ joined: Member[], left: Member[], members?: Member[], count: number }} presence
 *   members: who is there, all of them, where it is told anew; count alone in a big room
 * @property {{ from: string, body: any }} signal
 * @property {{ seq: number, count?: number, members?: Member[] }} joined also after each reconnect
 * @property {{ messages: number }} caughtup after a reconnect: what was missed has come
 * @property {ParleyError} error the room cannot be read (for good), or a signal or a reader's done was refused
 *
 * @typedef {object} ServiceEvents
 * @property {{ job: Job, error: ParleyError }} lost a job was handled, and the server did not take the
 *   outcome: it is finished, or another worker's by now
 * @property {{ question: Question, error: unknown }} failed a question is not answered, since its handler threw
 *
 * @typedef {Record<string, any>} Frame
 */

const SUBPROTOCOL = 'parley.v1';
const MIN_BACKOFF = 250;
const MAX_BACKOFF = 20_000;
const WELCOME_WITHIN = 10_000; // from the begin of a try
const TOKEN_WITHIN = 30_000;
const REFRESH_BEFORE = 60_000; // a token ends, at most; of a short one, a fifth of its life
const REFRESH_LEAST = 1_000; // from now: a function that gives the same token again is not asked on and on
const MAX_TIMEOUT = 2 ** 31 - 1;
const ANSWER_WITHIN = 30_000; // of a question, reconnects included
const BEAT = 5_000;
const PING_AFTER = 5; // beats without a frame
const DEAD_AFTER = 7;
const GOOD_LIFE = 5_000; // a link that lived this long was a good one, whatever came of it
const MAX_BUFFERED = 1_024; // messages that wait for a consumer
const RESUME_AT = 256; // of them are left: a slow consumer's room is joined again
const MAX_QUESTIONS = 1_000;
const MAX_OWN_IDS = 4_096;
const MAX_PREFETCH = 256;
const MAX_REASON = 1_024; // bytes
const MAX_WAITING = 1_024; // jobs or questions that are not begun
const SAVED_WITHIN = 5_000; // a loop's end waits for its reader's position so long
const ANSWER_LATE = 5_000; // what an ask's end may be late

/** An error of the server's, or of this client: code is for programs, message for people. */
export class ParleyError extends Error {
  /**
   * @param {string} code one of the protocol's, or of the client's own: unknown (sent, but not
   *   acknowledged: it may be stored or not), outbox_full, timeout, closed, lost, aborted
   * @param {string} message
   * @param {{ retryMs?: number, cause?: unknown }} [more]
   */
  constructor(code, message, { retryMs, cause } = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'ParleyError';
    this.code = code;
    /** When the server says to come back, in milliseconds. @type {number | undefined} */
    this.retryMs = retryMs;
  }
}

/** Thrown by a worker's handler: the job is not tried again, but becomes a dead letter with this reason. */
export class Fail extends Error {
  /** @param {string} reason */
  constructor(reason) {
    super(reason);
    this.name = 'Fail';
    this.fail = reason;
  }
}

/** Thrown by a worker's handler: the job is tried again, though not before a delay. */
export class Retry extends Error {
  /** @param {string} reason @param {Duration} delay */
  constructor(reason, delay) {
    super(reason);
    this.name = 'Retry';
    this.delay = delay;
  }
}

/**
 * Connects to a server, or to one of several that are all the same to it, which are taken in turn.
 * It returns at once and connects in the background; `await client.ready` waits for that. It
 * throws where a URL is none.
 *
 * @param {string | URL | (string | URL)[]} url `ws://host/ws`, or `http://host`, which stands for that
 * @param {Options} [options]
 * @returns {Client}
 */
export function connect(url, options = {}) {
  return new Client(url, options);
}

/**
 * A program's way to a server. It keeps one connection, makes a new one when it is lost, and takes
 * up there what was under way: no call has to be repeated.
 */
export class Client {
  /** @type {Core} */
  #core;

  /** Use connect. @param {string | URL | (string | URL)[]} url @param {Options} options */
  constructor(url, options) {
    this.#core = new Core((Array.isArray(url) ? url : [url]).map(socketURL), options);
    /**
     * The first welcome; rejects if the server refuses this client, or it is closed before.
     * @type {Promise<ClientEvents['welcome']>}
     */
    this.ready = this.#core.ready;
  }

  get status() { return this.#core.status; }

  /** Why the server stores nothing for now, though it is there; undefined where it does. What is sent waits. */
  get unavailable() { return this.#core.unavailable; }

  /** Who the client is, in the server's word. */
  get user() { return this.#core.user; }

  /** What the server takes; undefined before the first welcome. */
  get limits() { return this.#core.limits; }

  /**
   * Calls fn for each event of a type, until the function that it returns is called.
   * @template {keyof ClientEvents} K
   * @param {K} type
   * @param {(event: ClientEvents[K]) => void} fn
   */
  on(type, fn) { return this.#core.events.on(type, fn); }

  /**
   * Joins a room and stays in it, through lost connections, until Room.leave. A room that this
   * client is in already is given again, as it is: its options are those of the first call.
   *
   * The name may be a pattern, as orders.*.new or orders.**: then its messages are those of all rooms that
   * fit, each with its room, and nothing else can be done with it. It has a connection of its own.
   * @param {string} name
   * @param {RoomOptions} [options]
   * @returns {Room}
   */
  room(name, options = {}) { return this.#core.room(name, options); }

  /**
   * Lists rooms by name.
   * @param {{ after?: string, limit?: number, signal?: AbortSignal }} [options] after: the last
   *   name of the page before
   * @returns {Promise<{ rooms: RoomInfo[], more: boolean }>}
   */
  rooms({ after, limit, signal } = {}) {
    return this.#core.ask({ op: 'rooms', after_room: after, limit }, signal, (f) => ({ rooms: f.rooms, more: f.more }));
  }

  /**
   * Lists the server's hooks that post, by name, and how each fares. It takes the right admin for every room.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<HookInfo[]>}
   */
  hooks({ signal } = {}) { return this.#core.ask({ op: 'hooks' }, signal, (f) => f.hooks.map(readHook)); }

  /**
   * Asks for a sign of life. @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<number>} the milliseconds that it took
   */
  ping({ signal } = {}) {
    const begun = performance.now();
    return this.#core.ask({ op: 'ping' }, signal, () => performance.now() - begun);
  }

  /**
   * Takes another name, when what was sent under the old one has its answer.
   * @param {string} name
   * @returns {Promise<string>} the name in the server's word
   */
  rename(name) { return settled(this.#core.rename(name)); }

  /** Tries again now, where the client waits to do so: after signing in, say. */
  retry() { this.#core.retry(); }

  /** Ends the connection and everything that waits: what was sent and not acknowledged rejects. */
  close() { this.#core.close(); }
}

/**
 * A room as one client is in it. Iterating over it, or listening for its messages, gives them in
 * order and each once, from where client.room said. Where nobody takes them, some 1,000 wait; then
 * the room is left, and joined again behind the last when they are taken: a slow consumer costs
 * the server nothing and misses nothing.
 */
export class Room {
  #core;
  #sub;
  /** @type {Emitter<RoomEvents>} */
  #events;

  /** Use client.room. @param {Core} core @param {Subscription} sub @param {Emitter<RoomEvents>} events */
  constructor(core, sub, events) {
    this.#core = core;
    this.#sub = sub;
    this.#events = events;
    this.name = sub.room;
  }

  /** The seq of the last message received, or where to begin; undefined before there is one. */
  get seq() { return this.#sub.cursor ?? undefined; }

  /**
   * Calls fn for each event of a type, until the function that it returns is called.
   * @template {keyof RoomEvents} K
   * @param {K} type
   * @param {(event: RoomEvents[K]) => void} fn
   */
  on(type, fn) {
    const off = this.#events.on(type, fn);
    if (type === 'message') queueMicrotask(() => this.#sub.pump());
    return off;
  }

  /**
   * Sends a message. The promise resolves when it is durable. After a lost connection it is sent
   * again, under the same id. A room's messages are stored in the order of these calls; only one
   * that the server refuses for now can land behind those that were under way with it. It rejects
   * with what the server refuses for good, with outbox_full, or with unknown where it was sent,
   * no answer came, and it is too late to send it again.
   *
   * @param {any} body a string is text, bytes are binary, anything else is JSON
   * @param {SendOptions} [options]
   * @returns {Promise<Receipt>}
   */
  send(body, options = {}) { return settled(this.#core.send(this.name, body, options)); }

  /**
   * Takes jobs of a group, in which workers share out the room's messages, and has handler do each,
   * through lost connections. When handler is through the job is done. What it throws has it tried
   * again, after the error's delay or a while; a Fail, or { fail: reason }, makes a dead letter.
   * While it runs the client says in time that it is busy. Its signal is aborted when the job is
   * another worker's, or the client is closed.
   *
   * A job is done at least once: again, perhaps elsewhere, if the answer to its end was lost.
   *
   * @param {string} group
   * @param {(job: Job, context: { signal: AbortSignal }) => any} handler
   * @param {WorkOptions} [options]
   * @returns {Service}
   */
  work(group, handler, options = {}) {
    return this.#core.employ(new Work(this.#core, this.name, String(group).normalize('NFC'), handler, options), options.signal);
  }

  /**
   * Asks those who answer in this room, and gives the first answer. Nothing of it is stored, and it
   * is not asked again when the connection is lost: that rejects with lost. no_responders: nobody
   * answers here; timeout: nobody has in time.
   * @param {any} body
   * @param {AskOptions} [options]
   * @returns {Promise<Answer>}
   */
  ask(body, options = {}) {
    return settled(this.#core.gather(this.name, body, { ...options, most: 1 }).then((answers) => answers[0]));
  }

  /**
   * The same for many answers: those that came when there are enough, when nobody is left who could
   * answer, or when the time is over; one at least.
   * @param {any} body
   * @param {AskOptions & { most?: number }} [options] most: how many are enough, 1,000 at most; 1,000
   * @returns {Promise<Answer[]>}
   */
  askAll(body, options = {}) { return settled(this.#core.gather(this.name, body, { most: 1_000, ...options })); }

  /**
   * Answers what is asked in this room, through lost connections: with what handler returns, as in
   * send, or not at all where that is undefined.
   * @param {(question: Question) => any} handler
   * @param {AnswerOptions} [options]
   * @returns {Service}
   */
  answer(handler, options = {}) {
    return this.#core.employ(new Answering(this.#core, this.name, handler, options), options.signal);
  }

  /**
   * Says that the room's reader has dealt with all up to and including seq. The promise resolves when
   * that is durable, with the position that counts now: it only rises.
   * @param {number} seq
   * @returns {Promise<number>}
   */
  done(seq) { return settled(this.#sub.done(seq)); }

  /**
   * Reads a page of the past: the newest, or those next to a position.
   * @param {{ before?: number, after?: number, limit?: number, signal?: AbortSignal }} [options]
   * @returns {Promise<{ messages: Message[], more: boolean }>} by rising seq
   */
  history({ before, after, limit, signal } = {}) {
    return this.#core.ask({ op: 'history', room: this.name, before, after, limit }, signal,
      (f) => ({ messages: f.messages.map(readMessage), more: f.more }));
  }

  /**
   * Says who is in the room: up to 200 by name.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<{ members: Member[], count: number }>}
   */
  members({ signal } = {}) {
    return this.#core.ask({ op: 'members', room: this.name }, signal, (f) => ({ members: f.members, count: f.count }));
  }

  /**
   * Lists the groups that work in the room, by name. It takes the right to work here.
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<GroupInfo[]>}
   */
  groups({ signal } = {}) { return this.#core.ask({ op: 'groups', room: this.name }, signal, (f) => f.groups); }

  /**
   * Lists the durable readers of the room by name; after is the last name of the page before. It takes the
   * right to read here.
   * @param {{ after?: string, limit?: number, signal?: AbortSignal }} [options]
   * @returns {Promise<{ readers: ReaderInfo[], more: boolean }>}
   */
  readers({ after, limit, signal } = {}) {
    return this.#core.ask({ op: 'readers', room: this.name, after_reader: after, limit }, signal,
      (f) => ({ readers: f.readers, more: f.more }));
  }

  /**
   * Removes a group with its jobs: those that are not finished are never done. It rejects with conflict
   * while anybody takes from it, and with not_found where there is none. It takes the right to moderate.
   * @param {string} group
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<void>} resolves when that is durable
   */
  removeGroup(group, { signal } = {}) {
    return this.#core.ask({ op: 'remove', room: this.name, group: String(group) }, signal, () => {});
  }

  /**
   * Removes a durable reader with its position; likewise.
   * @param {string} reader
   * @param {{ signal?: AbortSignal }} [options]
   * @returns {Promise<void>}
   */
  removeReader(reader, { signal } = {}) {
    return this.#core.ask({ op: 'remove', room: this.name, reader: String(reader) }, signal, () => {});
  }

  /**
   * Tells the other members something that is not stored. Where the room is not joined just now
   * it is lost, as signals are.
   * @param {any} body
   * @returns {boolean} whether it was sent
   */
  signal(body) { return this.#sub.signal(body); }

  /** Leaves the room; its iterators end. Sending goes on to work. */
  leave() { this.#sub.stop(); }

  /**
   * The room's messages. There is one stream: two iterators share it. Ending a loop leaves the room.
   * @returns {AsyncIterableIterator<Message>}
   */
  [Symbol.asyncIterator]() {
    const sub = this.#sub;
    sub.iterated = true;
    /** @type {number[]} the messages that this iterator gave last */
    const given = [];
    return {
      next: () => {
        sub.dealtWith(given.splice(0));
        return settled(sub.next().then(async (result) => {
          if (result.done) await sub.saved();
          else given.push(result.value.seq);
          return result;
        }));
      },
      return: async () => {
        sub.stop();
        await sub.saved();
        return { value: undefined, done: true };
      },
      [Symbol.asyncIterator]() { return this; },
    };
  }
}

/**
 * What a client does for others in a room, working or answering, until it is stopped: through lost
 * connections, and for as long as the server does not refuse it.
 */
export class Service {
  #duty;

  /** Use room.work or room.answer. @param {Duty} duty */
  constructor(duty) {
    this.#duty = duty;
    /** Resolves when it is stopped, or the client closed; rejects if the server refuses it. @type {Promise<void>} */
    this.ended = duty.ended;
  }

  /**
   * Calls fn for each event of a type, until the function that it returns is called.
   * @template {keyof ServiceEvents} K
   * @param {K} type
   * @param {(event: ServiceEvents[K]) => void} fn
   */
  on(type, fn) { return this.#duty.events.on(type, fn); }

  /**
   * Takes no more, and gives back what was not begun. The promise resolves when what was begun is
   * through, and the server knows.
   * @returns {Promise<void>}
   */
  stop() { return this.#duty.stop(); }
}

/**
 * Events of one thing. What a listener throws is reported as uncaught, and stops nothing.
 * @template {object} Events
 */
class Emitter {
  /** @type {Map<keyof Events, Set<{ fn: (event: any) => void }>>} */
  #listeners = new Map();

  /** @template {keyof Events} K @param {K} type @param {(event: Events[K]) => void} fn @returns {() => void} */
  on(type, fn) {
    const listener = { fn };
    const all = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, all.add(listener));
    return () => { all.delete(listener); };
  }

  /** @param {keyof Events} type */
  heard(type) { return (this.#listeners.get(type)?.size ?? 0) > 0; }

  /** @template {keyof Events} K @param {K} type @param {Events[K]} event */
  emit(type, event) {
    for (const { fn } of [...this.#listeners.get(type) ?? []]) {
      try {
        fn(event);
      } catch (err) {
        queueMicrotask(() => { throw err; });
      }
    }
  }
}

/**
 * How long to wait before another try: any time up to a ceiling that doubles, so that clients that
 * lost the same server do not come back all at once.
 */
class Backoff {
  #tries = 0;

  /**
   * @param {ParleyError} [error] whose hint, if it bears one, is waited for as well; at the first try, alone, where
   *   a server sends its clients away: it has told each another time
   */
  next(error) {
    const first = this.#tries === 0;
    const ceiling = Math.min(MAX_BACKOFF, MIN_BACKOFF * 2 ** Math.min(this.#tries++, 16));
    const hint = Math.min(Math.max(0, error?.retryMs ?? 0), MAX_BACKOFF);
    if (first && hint > 0 && error?.code === 'unavailable') return hint;
    return Math.round(Math.random() * ceiling + hint);
  }

  reset() { this.#tries = 0; }
}

/**
 * One WebSocket, from its hello to its end. It tells its owner three things: the welcome, each
 * frame that answers no question of the link's, and the end, once.
 *
 * @typedef {object} Owner
 * @property {(link: Link, welcome: Frame) => void} welcomed
 * @property {(link: Link, frame: Frame) => void} received
 * @property {(link: Link, error: ParleyError, refused: boolean) => void} ended
 */
class Link {
  #ws;
  #owner;
  #helloRef = randomText();
  #welcomed = false;
  #over = false;
  #born = performance.now();
  /** @type {ParleyError | undefined} the server's last error that answers nothing */
  #fault;
  /** @type {Map<number, (frame: Frame) => void>} */
  #asked = new Map();
  #refs = 0;
  #quiet = 0;
  /** @type {any} */
  #timer;

  /** Whether it was more than a connection made and lost. */
  useful = false;

  /** @param {WebSocket} ws @param {Frame} hello @param {Owner} owner */
  constructor(ws, hello, owner) {
    this.#ws = ws;
    this.#owner = owner;
    this.#timer = setTimeout(() => this.end(new ParleyError('lost', 'no welcome came')), WELCOME_WITHIN);
    ws.onopen = () => this.write(JSON.stringify({ op: 'hello', ...hello, ref: this.#helloRef }));
    ws.onmessage = (event) => this.#read(event.data);
    ws.onclose = ({ code, reason }) =>
      this.end(new ParleyError('lost', `the connection was closed (${code}${reason && ` ${reason}`})`));
    // Not every WebSocket has a close follow the error of a connection that was never made.
    ws.onerror = (event) => {
      const { message, error } = /** @type {{ message?: string, error?: unknown }} */ (event);
      this.end(new ParleyError('lost', message || 'the connection failed', { cause: error }));
    };
  }

  /** @param {string} frame */
  write(frame) {
    if (this.#over) return;
    try {
      this.#ws.send(frame);
    } catch (cause) {
      // Not now: whoever writes is in the midst of something.
      queueMicrotask(() => this.end(new ParleyError('lost', `cannot write: ${messageOf(cause)}`, { cause })));
    }
  }

  /**
   * Sends an operation; answer gets the frame that bears its ref, unless the link ends before. It gets
   * several of an ask: each that is an answer is followed by another.
   * @param {Frame} op
   * @param {(frame: Frame) => void} answer
   * @returns {() => void} forgets the question
   */
  ask(op, answer) {
    const ref = ++this.#refs;
    this.#asked.set(ref, answer);
    this.write(JSON.stringify({ ...op, ref }));
    return () => { this.#asked.delete(ref); };
  }

  /** Ends the link now: what a dead connection would still say is not waited for. @param {ParleyError} error */
  end(error, refused = false) {
    if (this.#over) return;
    this.#over = true;
    this.useful ||= this.#welcomed && performance.now() - this.#born >= GOOD_LIFE;
    clearTimeout(this.#timer);
    clearInterval(this.#timer);
    const ws = this.#ws;
    ws.onopen = ws.onmessage = ws.onclose = null;
    ws.onerror = () => {};
    try {
      ws.close();
    } catch {
      // It was no socket any more.
    }
    this.#asked.clear();
    this.#owner.ended(this, this.#fault ?? error, refused);
  }

  /** @param {unknown} data */
  #read(data) {
    this.#quiet = 0;
    /** @type {Frame} */
    let frame;
    try {
      frame = JSON.parse(/** @type {string} */ (data));
      if (typeof frame?.op !== 'string') throw new Error('no op');
    } catch (cause) {
      this.end(new ParleyError('lost', 'the server sent what is no frame', { cause }));
      return;
    }
    if (frame.op === 'error' && frame.ref === undefined) {
      this.#fault = errorOf(frame);
    }
    if (!this.#welcomed) {
      this.#greeted(frame);
      return;
    }
    if (frame.op !== 'error') this.useful = true;
    const answer = this.#asked.get(frame.ref);
    if (answer) {
      if (frame.op !== 'answer') this.#asked.delete(frame.ref);
      answer(frame);
    } else {
      this.#owner.received(this, frame);
    }
  }

  /** @param {Frame} frame */
  #greeted(frame) {
    if (frame.op === 'welcome' && frame.ref === this.#helloRef) {
      this.#welcomed = true;
      this.#fault = undefined;
      clearTimeout(this.#timer);
      this.#timer = setInterval(() => this.#beat(), BEAT);
      this.#timer?.unref?.();
      this.#owner.welcomed(this, frame);
    } else if (frame.op === 'error') {
      const error = errorOf(frame);
      const ours = frame.ref === this.#helloRef;
      const refused = ['unauthorized', 'denied'].includes(error.code) || (ours && error.code === 'bad_request');
      if (ours || refused) this.end(error, refused);
    }
  }

  // Beats are counted, and no clock is asked, since clocks are set and computers sleep.
  #beat() {
    this.#quiet++;
    if (this.#quiet === PING_AFTER) this.ask({ op: 'ping' }, () => {});
    if (this.#quiet >= DEAD_AFTER) this.end(new ParleyError('lost', 'the server has gone silent'));
  }
}

/**
 * The messages that are not acknowledged, in the order they are to be stored. What was sent on one
 * link and not acknowledged is sent on the next: in the same order, under the same ids and before
 * anything newer.
 *
 * Where the server refuses one for now, nothing more is sent until all that is under way has its
 * answer and a pause has passed; then it goes on from the oldest.
 *
 * @typedef {object} Pending
 * @property {string} ref
 * @property {string} room
 * @property {string} id
 * @property {string} frame
 * @property {boolean} sent on this link, and not answered
 * @property {Moment | null} first when it was sent first
 * @property {string | undefined} user as whom it was sent first
 * @property {Promise<Receipt>} promise
 * @property {(r: Receipt) => void} resolve
 * @property {(e: ParleyError) => void} reject
 */
class Outbox {
  #max;
  #refs = 0;
  /** @type {Map<string, Pending>} by ref, in order */
  #held = new Map();
  /** @type {Pending[]} those to send on this link, from #head on */
  #todo = [];
  #head = 0;
  #inflight = 0;
  /** @type {Link | null} */
  #link = null;
  /** @type {Limits | undefined} */
  #limits;
  /** @type {string | undefined} */
  #user;
  #wait = new Backoff();
  #paused = false; // refused for now: answers are waited for, or the timer is
  /** @type {any} */
  #timer = null;
  #holds = 0;

  /** @param {number} max */
  constructor(max) { this.#max = max; }

  /** @param {string} room @param {string} id @param {Frame} op @returns {Promise<Receipt>} */
  put(room, id, op) {
    if (this.#held.size >= this.#max) {
      return Promise.reject(new ParleyError('outbox_full', `${this.#max} messages wait for their acknowledgement already`));
    }
    const ref = `m-${++this.#refs}`;
    const { promise, resolve, reject } = deferred();
    /** @type {Pending} */
    const p = {
      ref, room, id, frame: JSON.stringify({ ...op, ref }), sent: false, first: null, user: undefined, promise, resolve, reject,
    };
    this.#held.set(ref, p);
    this.#todo.push(p);
    this.flush();
    return promise;
  }

  /** @param {Link} link @param {Limits} limits @param {string} user */
  attach(link, limits, user) {
    this.#link = link;
    this.#limits = limits;
    this.#user = user;
    this.flush();
  }

  /** Takes back what was sent on a link that has ended. */
  detach() {
    this.#link = null;
    this.#inflight = 0;
    for (const p of this.#held.values()) p.sent = false;
    this.#again();
    this.expire();
  }

  /** @param {string} user */
  renamed(user) { this.#user = user; }

  /** Gives up what could be stored twice if it were sent again. */
  expire() {
    for (const p of this.#held.values()) {
      if (!p.sent && this.#late(p)) {
        this.#settle(p, unknown('and it is too late to send it again'));
      }
    }
  }

  flush() {
    const link = this.#link;
    const limits = this.#limits;
    if (!link || !limits) return;
    if (this.#paused) {
      if (this.#timer || this.#inflight > 0) return;
      this.#paused = false;
      this.#again();
    }
    for (; this.#head < this.#todo.length && this.#inflight < limits.inflight; this.#head++) {
      const p = this.#todo[this.#head];
      if (!this.#held.has(p.ref)) continue;
      if (this.#holds > 0 && !p.first) break;
      if (tooLong(p.frame, limits.frame)) {
        this.#settle(p, new ParleyError('too_large', `longer, as it is sent, than the ${limits.frame} bytes that the server takes`));
        continue;
      }
      if (this.#late(p)) {
        this.#settle(p, unknown('and it is too late to send it again'));
        continue;
      }
      if (p.first && p.user !== this.#user) {
        this.#settle(p, unknown('and the server now calls this client by another name'));
        continue;
      }
      p.first ??= now();
      p.user = this.#user;
      p.sent = true;
      this.#inflight++;
      link.write(p.frame);
    }
    if (this.#head >= this.#todo.length) {
      this.#todo = [];
      this.#head = 0;
    }
  }

  /** @param {Frame} frame that bears a ref of this outbox */
  answer(frame) {
    const p = this.#held.get(frame.ref);
    if (!p || !p.sent) return;
    p.sent = false;
    this.#inflight--;
    if (frame.op === 'ack') {
      this.#wait.reset();
      this.#settle(p, { room: frame.room, seq: frame.seq, id: p.id, duplicate: frame.duplicate === true });
    } else {
      const error = errorOf(frame);
      if (temporary(error)) {
        this.#pause(error);
      } else {
        this.#settle(p, error);
      }
    }
    this.flush();
  }

  /**
   * Waits for the answers to all that was sent, and has nothing new sent until done has settled.
   * @template T
   * @param {() => Promise<T>} done
   */
  async between(done) {
    this.#holds++;
    try {
      await Promise.allSettled([...this.#held.values()].filter((p) => p.first).map((p) => p.promise));
      return await done();
    } finally {
      this.#holds--;
      this.flush();
    }
  }

  /** Fails everything. @param {ParleyError} error */
  close(error) {
    this.#link = null;
    clearTimeout(this.#timer);
    for (const p of this.#held.values()) {
      this.#settle(p, p.first ? unknown('before the client was closed', error) : error);
    }
  }

  /** @param {Pending} p */
  #late(p) {
    // A tenth of the window is for the way and the clocks.
    return p.first !== null && this.#limits !== undefined && since(p.first) > this.#limits.dedupe_ms * 0.9;
  }

  /** @param {ParleyError} error */
  #pause(error) {
    if (this.#paused) return; // one pause for all that were refused together
    this.#paused = true;
    this.#timer = setTimeout(() => {
      this.#timer = null;
      this.flush();
    }, this.#wait.next(error));
    this.#timer?.unref?.();
  }

  #again() {
    this.#todo = [...this.#held.values()].filter((p) => !p.sent);
    this.#head = 0;
  }

  /** @param {Pending} p @param {Receipt | ParleyError} outcome */
  #settle(p, outcome) {
    this.#held.delete(p.ref);
    if (outcome instanceof Error) p.reject(outcome);
    else p.resolve(outcome);
  }
}

/**
 * A place in a room: a cursor, and what came beyond what the consumer has taken. Links come and go
 * under it.
 *
 * @typedef {{ [K in keyof RoomEvents]: { type: K, event: RoomEvents[K] } }[keyof RoomEvents]} Item
 */
class Subscription {
  #core;
  #options;
  #events;
  /** @type {'away' | 'joining' | 'member' | 'leaving' | 'stopped'} */
  #state = 'away';
  /** @type {Link | null} */
  #link = null;
  #joins = 0;
  /** @type {number | null} the room's newest when it was joined first; counts until there is a cursor */
  #floor = null;
  /** @type {Moment | null} when it was joined first */
  #asked = null;
  /** @type {Item[]} */
  #queue = [];
  #parked = false; // the consumer is slow: not to be joined for now
  #pumping = false;
  /** @type {{ resolve: (r: IteratorResult<Message>) => void, reject: (e: ParleyError) => void }[]} */
  #waiters = [];
  /** @type {ParleyError | undefined} why it is stopped, if it was not asked to */
  #fault;
  #wait = new Backoff();
  /** @type {any} */
  #timer;
  /** @type {number | null} the messages since the link was lost, until they have all come */
  #missed = null;
  #target = 0; // with this seq they have
  /** @type {Set<number>} messages that iterators have been given and are not through with */
  #out = new Set();
  #given = 0; // the last of all that they were given
  #dealt = 0; // all up to this one is dealt with
  #saved = 0; // and the server knows up to this one
  /** @type {Promise<void> | null} */
  #saving = null;

  /** @type {number | null} the seq of the last message received, or where to go on */
  cursor;
  /** Whether an iterator takes the messages; else they go to the listeners as they come. */
  iterated = false;
  /**
   * Of a pattern, in place of the cursor: that of the last frame which bore one, and the last seq of each room of
   * which something came behind it.
   * @type {{ cursor: string | null, since: Map<string, number> } | null}
   */
  #many;

  /** @param {Core} core @param {string} room @param {RoomOptions} options @param {Emitter<RoomEvents>} events */
  constructor(core, room, options, events) {
    this.#core = core;
    this.room = room;
    this.#options = options;
    this.#events = events;
    this.#many = isPattern(room) ? { cursor: options.cursor ?? null, since: new Map() } : null;
    this.cursor = options.after && options.reader === undefined && !this.#many ? options.after : null;
  }

  /** @param {Link} link a new one */
  connected(link) {
    this.#link = link;
    this.#join();
  }

  /** The link has ended. */
  lost() {
    this.#link = null;
    clearTimeout(this.#timer);
    if (this.#state === 'stopped') return;
    this.#state = 'away';
    if (this.#joins > 0) this.#missed ??= 0;
  }

  /** Leaves for good. @param {ParleyError} [fault] if it was not asked for */
  stop(fault) {
    if (this.#state === 'stopped') return;
    if (this.#link && (this.#state === 'joining' || this.#state === 'member')) {
      this.#link.ask({ op: 'leave', room: this.room }, () => {});
    }
    clearTimeout(this.#timer);
    this.#state = 'stopped';
    this.#fault = fault;
    this.#core.forget(this);
    if (fault) {
      this.#events.emit('error', fault);
    } else {
      this.#queue = [];
    }
    this.#finish();
  }

  /** @param {any} body */
  signal(body) {
    if (this.#state !== 'member' || !this.#link) return false;
    const frame = JSON.stringify({ op: 'signal', room: this.room, body, ref: `signal:${this.room}` });
    if (tooLong(frame, this.#core.limits?.frame ?? 0)) {
      this.#events.emit('error', new ParleyError('too_large', 'the signal is longer than the server takes'));
      return false;
    }
    this.#link.write(frame);
    return true;
  }

  /** @returns {Promise<IteratorResult<Message>>} */
  next() {
    return new Promise((resolve, reject) => {
      this.#waiters.push({ resolve, reject });
      this.pump();
      this.#finish();
    });
  }

  /** @param {number} seq */
  done(seq) {
    const { reader } = this.#options;
    if (reader === undefined) return Promise.reject(new ParleyError('bad_request', 'done is for a room that was given a reader'));
    return this.#core.ask({ op: 'done', room: this.room, reader, seq }, undefined, (frame) => /** @type {number} */ (frame.seq));
  }

  /** An iterator is through with messages. @param {number[]} seqs */
  dealtWith(seqs) {
    if (seqs.length === 0 || this.#options.reader === undefined || this.#options.autoDone === false) return;
    for (const seq of seqs) this.#out.delete(seq);
    // Another iterator may be at an older one.
    this.#dealt = this.#out.size > 0 ? Math.min(...this.#out) - 1 : this.#given;
    if (this.#dealt > this.#saved) this.#saving ??= this.#save();
  }

  /** Resolves when the server knows where the reader is, or soon. */
  async saved() { await (this.#saving && Promise.race([this.#saving, pause(SAVED_WITHIN)])); }

  /** Tells the server where the reader is, with one question at a time. */
  async #save() {
    const wait = new Backoff();
    while (this.#dealt > this.#saved) {
      const seq = this.#dealt;
      try {
        await this.done(seq);
        this.#saved = seq;
        wait.reset();
      } catch (cause) {
        const error = /** @type {ParleyError} */ (cause);
        if (!passing(error)) {
          if (error.code !== 'closed') this.#events.emit('error', error);
          break;
        }
        await pause(wait.next(error));
      }
    }
    this.#saving = null;
  }

  /** @param {Frame} frame about this room */
  received(frame) {
    if (this.#state !== 'member') return; // the server had not read the leave yet
    switch (frame.op) {
      case 'message':
        this.#deliver(frame);
        break;
      case 'gap':
        if (this.#options.reader !== undefined) this.cursor ??= frame.after; // only the server knew where it was
        this.#gap(frame);
        break;
      case 'cursor':
        this.#moved(frame.cursor);
        break;
      case 'left':
        if (frame.ref !== undefined) break;
        this.#state = 'away'; // it was put out, since it lost the right to be there
        this.stop(new ParleyError('denied', `you may not be in ${this.room} any more`));
        break;
      case 'presence':
        this.#events.emit('presence', {
          joined: frame.joined ?? [], left: frame.left ?? [], ...(frame.members && { members: frame.members }), count: frame.count,
        });
        break;
      case 'signal':
        this.#events.emit('signal', { from: frame.from, body: frame.body });
        break;
    }
  }

  /** @param {ParleyError} error */
  refusedSignal(error) { this.#events.emit('error', error); }

  /** Hands out what is queued, while somebody takes it. */
  pump() {
    if (this.#pumping) return;
    this.#pumping = true;
    while (this.#queue.length > 0 && (this.#waiters.length > 0 || (!this.iterated && this.#events.heard('message')))) {
      const item = /** @type {Item} */ (this.#queue.shift());
      const waiter = item.type === 'message' ? this.#waiters.shift() : undefined;
      if (item.type === 'message' && waiter) {
        this.#given = item.event.seq;
        if (this.#options.reader !== undefined) this.#out.add(item.event.seq);
        waiter.resolve({ value: item.event, done: false });
      }
      this.#events.emit(item.type, item.event);
    }
    this.#pumping = false;
    if (this.#parked && this.#queue.length <= RESUME_AT) {
      this.#parked = false;
      this.#join();
    }
  }

  #join() {
    if (this.#state !== 'away' || this.#parked || !this.#link) return;
    clearTimeout(this.#timer);
    this.#state = 'joining';
    const op = { op: 'join', room: this.room, ...this.#start(), presence: this.#options.presence ? true : undefined };
    this.#asked ??= now();
    this.#link.ask(op, (frame) => {
      if (this.#state !== 'joining') return;
      if (frame.op === 'error') this.#refused(errorOf(frame));
      else this.#joined(frame);
    });
  }

  /** Where to begin: a reader where the server knows it to be, until this client knows better. */
  #start() {
    if (this.cursor !== null && (this.cursor > 0 || this.#options.reader === undefined)) return { after: this.cursor };
    if (this.#many && this.#many.cursor !== null) {
      const { cursor, since: places } = this.#many;
      return { cursor, after: places.size > 0 ? Object.fromEntries(places) : undefined };
    }
    const { after, last, since: from, reader } = this.#options;
    if (from === undefined) return { after, last, reader };
    if (from instanceof Date) return { since: from.toISOString(), reader };
    return { since: this.#asked ? longer(from, since(this.#asked)) : from, reader };
  }

  /** @param {ParleyError} error */
  #refused(error) {
    if (!temporary(error)) {
      this.#state = 'away'; // there is nothing to leave
      this.stop(error);
      return;
    }
    this.#state = 'away';
    this.#timer = setTimeout(() => this.#join(), this.#wait.next(error));
    this.#timer?.unref?.();
  }

  /** @param {Frame} frame */
  #joined({ seq, count, members, cursor }) {
    this.#state = 'member';
    this.#wait.reset();
    this.#joins++;
    if (this.#many) {
      if (cursor !== undefined) this.#many = { cursor, since: new Map() };
      this.#missed = null; // which seqs were missed cannot be told
      this.#events.emit('joined', { seq });
      return;
    }
    const { after, last, since: from, reader } = this.#options;
    const live = after === undefined && last === undefined && from === undefined && reader === undefined;
    if (this.cursor === null && (live || seq === 0)) this.cursor = seq; // from here on nothing may be missed
    this.#floor ??= seq;
    this.#target = seq;
    this.#events.emit('joined', { seq, count, members });
    this.#caughtUp();
  }

  /** @param {Frame} frame */
  #deliver(frame) {
    if (frame.seq <= ((this.#many ? this.#many.since.get(frame.room) : this.cursor) ?? -1)) return;
    /** @type {Message} */
    let message;
    try {
      message = readMessage(frame);
    } catch (cause) {
      this.stop(new ParleyError('internal', 'a message that this client cannot read', { cause }));
      return;
    }
    if (this.#many) {
      if ((this.#options.echo === false && this.#core.wrote(message)) || this.#push({ type: 'message', event: message })) {
        this.#many.since.set(frame.room, frame.seq);
        this.pump();
      }
      return;
    }
    // A room that was empty at a live start may have had messages once: its first one has a prev
    // that nobody missed.
    // Where a reader was that has got nothing yet, the server alone knows.
    const before = this.cursor ?? (this.#options.reader === undefined ? this.#floor : null) ?? frame.prev;
    if ((before > 0 || this.#joins > 1) && frame.prev > before) {
      if (!this.#push({ type: 'gap', event: { after: before, next: frame.seq } })) return;
      this.cursor = frame.seq - 1;
    }
    if (this.#options.echo !== false || !this.#core.wrote(message)) {
      if (!this.#push({ type: 'message', event: message })) return;
      if (this.#missed !== null) this.#missed++;
    }
    this.cursor = frame.seq;
    this.#caughtUp();
    this.pump();
  }

  /** The server says where a pattern is. @param {string} cursor */
  #moved(cursor) {
    if (!this.#many || (this.#events.heard('cursor') && !this.#push({ type: 'cursor', event: { cursor } }))) return;
    this.#many = { cursor, since: new Map() };
    this.pump();
  }

  /** The server says that messages of a room behind after and before next are gone. @param {Frame} frame */
  #gap({ room, after, next }) {
    if (this.#many) {
      if (this.#push({ type: 'gap', event: { room, after, next } })) this.pump();
      return;
    }
    if (this.cursor === null || next <= this.cursor + 1) return;
    if (!this.#push({ type: 'gap', event: { after: this.cursor, next } })) return;
    this.cursor = next - 1;
    this.#caughtUp();
    this.pump();
  }

  #caughtUp() {
    if (this.#missed === null || this.#state !== 'member' || (this.cursor ?? -1) < this.#target) return;
    this.#queue.push({ type: 'caughtup', event: { messages: this.#missed } });
    this.#missed = null;
    this.pump();
  }

  /**
   * Queues an item. Where there is no room for it the room is left: the cursor stays, and what is
   * behind it will be asked for again.
   * @param {Item} item
   */
  #push(item) {
    if (this.#queue.length < MAX_BUFFERED) {
      this.#queue.push(item);
      return true;
    }
    this.#parked = true;
    this.#state = 'leaving';
    this.#link?.ask({ op: 'leave', room: this.room }, () => {
      if (this.#state !== 'leaving') return;
      this.#state = 'away';
      this.#join();
    });
    return false;
  }

  /** Tells those who wait that nothing more comes. */
  #finish() {
    if (this.#state !== 'stopped' || this.#queue.length > 0) return;
    for (const { resolve, reject } of this.#waiters.splice(0)) {
      if (this.#fault) reject(this.#fault);
      else resolve({ value: undefined, done: true });
    }
  }
}

/**
 * What comes to this client to be dealt with, some at a time: a group's jobs or a room's questions. It
 * asks for them on each new link; what came on a link that has ended and was not begun is another's.
 */
class Duty {
  #core;
  #begin;
  #end;
  #parallel;
  /** @type {'on' | 'stopping' | 'over'} */
  #state = 'on';
  /** @type {Link | null} */
  #link = null;
  /** @type {Frame[]} not begun */
  #queue = [];
  #running = 0;
  #wait = new Backoff();
  /** @type {any} */
  #timer;
  #quiet = true; // nothing comes, since nothing is asked for on this link
  #settle;

  /** @type {Emitter<ServiceEvents>} */
  events = new Emitter();
  /** @type {Promise<void>} */
  ended;

  /** @param {Core} core @param {Frame} begin @param {Frame} end @param {number} parallel */
  constructor(core, begin, end, parallel) {
    if (!Number.isInteger(parallel) || parallel < 1 || parallel > MAX_PREFETCH) {
      throw new ParleyError('bad_request', `from 1 to ${MAX_PREFETCH} are handled at a time`);
    }
    this.#core = core;
    this.#begin = begin;
    this.#end = end;
    this.#parallel = parallel;
    const { promise, resolve, reject } = deferred();
    this.ended = settled(promise);
    this.#settle = { resolve, reject };
  }

  /** What tells its frames from others'. */
  get key() { return dutyKey(this.#begin); }

  get stopped() { return this.#state !== 'on'; }

  /** Deals with one. @param {Frame} _frame @param {Link} _link by which it came @returns {Promise<void>} that never rejects */
  async handle(_frame, _link) {}

  /** Gives back what was not begun; whether it could. @param {Frame} _frame @param {Link} _link */
  decline(_frame, _link) { return true; }

  /** Ends what is being handled, as far as it listens. */
  abort() {}

  /** @param {Link} link */
  connected(link) {
    if (this.#link === link || this.#state !== 'on') return;
    this.#link = link;
    this.#ask(link);
  }

  /** @param {Link} link */
  #ask(link) {
    this.#quiet = false;
    link.ask(this.#begin, (frame) => {
      if (this.#state !== 'on') return;
      if (frame.op !== 'error') {
        this.#wait.reset();
        return;
      }
      const error = errorOf(frame);
      this.#quiet = true;
      if (!temporary(error)) {
        this.fail(error);
        return;
      }
      this.#timer = setTimeout(() => this.#ask(link), this.#wait.next(error));
      this.#timer?.unref?.();
    });
  }

  /** The link has ended. */
  lost() {
    clearTimeout(this.#timer);
    this.#link = null;
    this.#queue = [];
    this.#quiet = true;
    this.#finish();
  }

  /** @param {Frame} frame */
  received(frame) {
    const link = this.#link;
    if (!link || (this.#state !== 'on' && this.decline(frame, link))) return;
    if (this.#queue.length < MAX_WAITING) this.#queue.push(frame);
    this.#pump();
  }

  #pump() {
    while (this.#link && this.#running < this.#parallel && this.#queue.length > 0) {
      this.#running++;
      this.handle(/** @type {Frame} */ (this.#queue.shift()), this.#link).then(() => {
        this.#running--;
        this.#pump();
        this.#finish();
      });
    }
  }

  stop() {
    if (this.#state === 'on') {
      this.#state = 'stopping';
      clearTimeout(this.#timer);
      const link = this.#link;
      if (link && !this.#quiet) {
        link.ask(this.#end, () => {
          this.#quiet = true;
          this.#finish();
        });
        this.#queue = this.#queue.filter((frame) => !this.decline(frame, link));
      }
      this.#finish();
    }
    return this.ended;
  }

  /** Ends it for good. @param {ParleyError} error */
  fail(error) {
    if (this.#state === 'over') return;
    this.lost();
    this.#over();
    this.abort();
    if (error.code === 'closed') this.#settle.resolve(undefined);
    else this.#settle.reject(error);
  }

  #finish() {
    if (this.#state !== 'stopping' || !this.#quiet || this.#running > 0 || this.#queue.length > 0) return;
    this.#over();
    this.#settle.resolve(undefined);
  }

  #over() {
    this.#state = 'over';
    this.#core.dismiss(this);
  }
}

/** The jobs of a group. */
class Work extends Duty {
  #core;
  #handler;
  /** @type {Set<AbortController>} of the jobs being handled */
  #begun = new Set();

  /**
   * @param {Core} core
   * @param {string} room
   * @param {string} group
   * @param {(job: Job, context: { signal: AbortSignal }) => any} handler
   * @param {WorkOptions} options
   */
  constructor(core, room, group, handler, { parallel = 1, prefetch = parallel, tries = 5, deadline, after, last, since: from }) {
    const take = {
      op: 'take', room, group, prefetch, parallel: parallel < prefetch ? parallel : undefined, tries,
      deadline: duration(deadline), after, last,
      since: from instanceof Date ? from.toISOString() : from,
    };
    super(core, take, { op: 'stop', room, group }, parallel);
    this.#core = core;
    this.#handler = handler;
  }

  abort() { for (const one of this.#begun) one.abort(new ParleyError('closed', 'the work has ended')); }

  /** Who has not begun a job has not tried it. @param {Frame} frame @param {Link} link */
  decline({ room, job }, link) {
    link.ask({ op: 'release', room, job }, () => {});
    return true;
  }

  /** @param {Frame} frame */
  async handle(frame) {
    const { room, job } = frame;
    const control = new AbortController();
    this.#begun.add(control);
    const timer = this.#keep(frame, control);
    listen(control.signal, 'abort', () => clearInterval(timer)); // whether or not the handler listens
    /** @type {Frame} */
    let outcome = { op: 'done', room, job };
    /** @type {Job | undefined} */
    let given;
    try {
      given = readJob(frame);
      await this.#handler(given, { signal: control.signal });
    } catch (error) {
      outcome = { ...outcome, ...outcomeOf(error) };
    }
    clearInterval(timer);
    this.#begun.delete(control);
    try {
      await this.#report(outcome);
    } catch (error) {
      if (given) this.events.emit('lost', { job: given, error: /** @type {ParleyError} */ (error) });
    }
  }

  /** Says in time that the worker is busy. @param {Frame} frame @param {AbortController} control */
  #keep({ room, job, deadline_ms }, control) {
    let asking = false;
    return setInterval(async () => {
      if (asking) return;
      asking = true;
      try {
        await this.#core.ask({ op: 'busy', room, job }, undefined, () => {});
      } catch (error) {
        // Any other says that it is nobody's, and may be done yet, or that nobody knows.
        if (/** @type {ParleyError} */ (error).code === 'conflict') control.abort(error);
      }
      asking = false;
    }, deadline_ms / 3);
  }

  /** @param {Frame} outcome */
  async #report(outcome) {
    for (const wait = new Backoff(); ;) {
      try {
        await this.#core.ask(outcome, undefined, () => {});
        return;
      } catch (cause) {
        const error = /** @type {ParleyError} */ (cause);
        if (!passing(error) || this.stopped) throw error;
        await pause(wait.next(error));
      }
    }
  }
}

/** The questions of a room. */
class Answering extends Duty {
  #core;
  #room;
  #handler;
  /** @type {WeakMap<Frame, number>} until when somebody waits */
  #until = new WeakMap();

  /** @param {Core} core @param {string} room @param {(question: Question) => any} handler @param {AnswerOptions} options */
  constructor(core, room, handler, { parallel = 16 }) {
    super(core, { op: 'serve', room }, { op: 'stop', room }, parallel);
    this.#core = core;
    this.#room = room;
    this.#handler = handler;
  }

  /** @param {Frame} frame */
  received(frame) {
    this.#until.set(frame, Date.now() + frame.timeout_ms);
    super.received(frame);
  }

  /** What was asked may be answered by others, or waits in vain. */
  decline() { return true; }

  /** @param {Frame} frame @param {Link} link */
  async handle(frame, link) {
    const until = this.#until.get(frame) ?? 0;
    if (Date.now() > until) return;
    const { question, from, type } = frame;
    const room = this.#room;
    /** @type {Question} */
    const asked = { room, question, from, type, body: undefined, until: new Date(until) };
    try {
      asked.body = readBody(frame);
      const body = await this.#handler(asked);
      if (body !== undefined) this.#core.answer(link, { op: 'answer', room, question, ...writeBody(body) });
    } catch (error) {
      this.events.emit('failed', { question: asked, error });
    }
  }
}

/**
 * What a client does: it makes one link after another and has everything go on there. At any time
 * it has a link, or is trying to make one, or has a timer to do so, or is closed.
 */
class Core {
  #urls; // those given, and behind them the other nodes of a cluster
  #given;
  #url = ''; // tried last
  #options;
  #Socket;
  #turn = 0; // of the URLs
  #failed = 0; // of them since the last pause
  #tries = 0; // so that a try that was given up is known as such
  /** @type {Link | null} being made, or open */
  #link = null;
  /** @type {any} */
  #timer;
  /** @type {any} of the link's token */
  #refresh;
  #shown = false; // a token, at the last try
  #wait = new Backoff();
  /** @type {ParleyError | undefined} */
  #fault;
  /** @type {string | undefined} */
  #name;
  #prefix = `${randomText()}-`; // of all ids that this client makes
  #ids = 0;
  /** @type {Set<string>} of ids given by the caller, the newest */
  #ownIds = new Set();
  /** @type {Set<string>} whom the server called us: one, or a few */
  #users = new Set();
  /** @type {Map<string, { sub: Subscription, room: Room }>} */
  #rooms = new Map();
  /** @type {Map<string, { core: Core, room: Room }>} each with a core of its own */
  #patterns = new Map();
  /** @type {Core | undefined} of a pattern's core: the client's */
  #parent;
  /** @type {Map<string, Duty>} */
  #duties = new Map();
  /** @type {Set<{ put: (link: Link) => void, fail: (error: ParleyError) => void, lost: () => void }>} */
  #questions = new Set();
  #gathering = 0; // asks in flight
  /** @type {(e: ParleyError) => void} */
  #failReady;
  /** @type {(w: ClientEvents['welcome']) => void} */
  #resolveReady;
  /** @type {Outbox} */
  #outbox;
  #unlisten;

  /** @type {Emitter<ClientEvents>} */
  events = new Emitter();
  /** @type {Status} */
  status = 'connecting';
  /** @type {string | undefined} */
  unavailable;
  /** @type {string | undefined} */
  user;
  /** @type {Limits | undefined} */
  limits;

  /** @param {string[]} urls @param {Options} options @param {Core} [parent] */
  constructor(urls, options, parent) {
    this.#parent = parent;
    const Socket = options.WebSocket ?? globalThis.WebSocket;
    if (urls.length === 0) throw new ParleyError('bad_request', 'no URL to connect to');
    if (!Socket) throw new ParleyError('bad_request', 'there is no WebSocket here: Node has one from version 22, or give one');
    this.#urls = this.#given = urls;
    this.#options = options;
    this.#Socket = Socket;
    this.#name = options.name;
    this.#outbox = new Outbox(options.outbox ?? 1_000);
    const { promise, resolve, reject } = deferred();
    this.ready = /** @type {Promise<ClientEvents['welcome']>} */ (settled(promise));
    this.#resolveReady = resolve;
    this.#failReady = reject;
    this.#unlisten = [
      listen(globalThis, 'online', () => this.retry()),
      listen(globalThis, 'offline', () => this.#link?.end(new ParleyError('lost', 'this computer is offline'))),
      listen(options.signal, 'abort', () => this.close()),
    ];
    if (options.signal?.aborted) this.close();
    else this.#connect();
  }

  close() { this.#close(new ParleyError('closed', 'the client is closed')); }

  /** @param {string} name @param {RoomOptions} options @returns {Room} */
  room(name, options) {
    const room = String(name).normalize('NFC');
    const known = this.#rooms.get(room);
    if (known) return known.room;
    const starts = [options.after, options.last, options.since, options.cursor].filter((start) => start !== undefined);
    if (starts.length > 1) throw new ParleyError('bad_request', 'at most one of after, last, since and cursor');
    if (isPattern(room) && !this.#parent && !this.#fault) return this.#pattern(room, options);
    /** @type {Emitter<RoomEvents>} */
    const events = new Emitter();
    const sub = new Subscription(this, room, options, events);
    const made = new Room(this, sub, events);
    if (this.#fault) {
      sub.stop(this.#fault.code === 'closed' ? undefined : this.#fault);
      return made;
    }
    if (options.join === false) {
      sub.stop(new ParleyError('bad_request', `${room} is not joined: it was asked for without`));
      return made;
    }
    this.#rooms.set(room, { sub, room: made });
    // A turn later, so that the caller's listeners are there.
    queueMicrotask(() => {
      if (this.#rooms.get(room)?.sub === sub && this.status === 'open' && this.#link) sub.connected(this.#link);
    });
    return made;
  }

  /**
   * Follows a pattern. A message says its room and not by which join it came, so patterns and rooms, which can
   * have rooms in common, do not share a connection.
   * @param {string} name
   * @param {RoomOptions} options
   * @returns {Room}
   */
  #pattern(name, options) {
    const known = this.#patterns.get(name);
    if (known) return known.room;
    const core = new Core(this.#urls, { ...this.#options, name: this.#name, signal: undefined }, this);
    const room = core.room(name, options);
    this.#patterns.set(name, { core, room });
    return room;
  }

  /** @param {Subscription} sub */
  forget(sub) {
    if (this.#parent) {
      this.#parent.#patterns.delete(sub.room);
      queueMicrotask(() => this.close()); // when what the caller does is done
    }
    if (this.#rooms.get(sub.room)?.sub === sub) this.#rooms.delete(sub.room);
  }

  /** @param {Duty} duty @param {AbortSignal} [signal] */
  employ(duty, signal) {
    if (this.#duties.has(duty.key)) throw new ParleyError('conflict', 'this client does that already');
    if (this.#fault) {
      duty.fail(this.#fault);
    } else {
      this.#duties.set(duty.key, duty);
      const unlisten = listen(signal, 'abort', () => duty.stop());
      duty.ended.catch(() => {}).then(unlisten);
      if (signal?.aborted) duty.stop();
      else if (this.status === 'open' && this.#link) duty.connected(this.#link);
    }
    return new Service(duty);
  }

  /** @param {Duty} duty */
  dismiss(duty) {
    if (this.#duties.get(duty.key) === duty) this.#duties.delete(duty.key);
  }

  /** @param {Link} link @param {Frame} op */
  answer(link, op) {
    const frame = JSON.stringify({ ...op, ref: 'answer' });
    if (tooLong(frame, this.limits?.frame ?? 0)) throw new ParleyError('too_large', 'the answer is longer than the server takes');
    link.write(frame);
  }

  /** @param {string} room @param {any} body @param {AskOptions & { most: number }} options */
  async gather(room, body, { type, timeout = 5_000, most, signal }) {
    /** @type {Answer[]} */
    const answers = [];
    const op = { op: 'ask', room, ...writeBody(body, type), most, timeout: duration(timeout) };
    if (tooLong(JSON.stringify(op), (this.limits?.frame ?? 262_144) - 64)) {
      throw new ParleyError('too_large', 'the question is longer than the server takes');
    }
    await this.ask(op, signal, () => {}, {
      within: typeof timeout === 'number' ? timeout : millis(timeout) || ANSWER_WITHIN,
      more: (frame) => answers.push({ room, from: frame.from, type: frame.type, body: readBody(frame) }),
    });
    return answers;
  }

  /** @param {string} room @param {any} body @param {SendOptions} options */
  send(room, body, { type, id, delay, due, ttl, key: jobKey, priority }) {
    if (this.#fault) return Promise.reject(this.#fault);
    if (id !== undefined && !/^[ -~]{1,128}$/.test(id)) {
      return Promise.reject(new ParleyError('bad_request', 'an id is 1 to 128 printable characters of ASCII'));
    }
    try {
      const key = id ?? `${this.#prefix}${(++this.#ids).toString(36)}`;
      const sent = this.#outbox.put(room, key, {
        op: 'send', room, ...writeBody(body, type), id: key, delay: duration(delay), due: due instanceof Date ? due.toISOString() : due,
        ttl: duration(ttl), key: jobKey, priority,
      });
      if (id !== undefined) this.#own(id);
      return sent;
    } catch (error) {
      return Promise.reject(error);
    }
  }

  /** Whether a message is this client's own. An id can be copied by anyone, so the sender counts too. @param {Message} m @returns {boolean} */
  wrote(m) {
    if (this.#parent) return this.#parent.wrote(m);
    return this.#users.has(m.from) && (m.id.startsWith(this.#prefix) || this.#ownIds.has(m.id));
  }

  /**
   * Asks the server something that may be asked again, on the next link, if this one ends first. With
   * once it may not: it is for answers of others, which more gets, and waits within for them.
   * @template T
   * @param {Frame} op
   * @param {AbortSignal | undefined} signal
   * @param {(frame: Frame) => T} read
   * @param {{ within: number, more: (frame: Frame) => void }} [once]
   * @returns {Promise<T>}
   */
  ask(op, signal, read, once) {
    return settled(new Promise((resolve, reject) => {
      if (this.#fault) throw this.#fault;
      if (signal?.aborted) throw aborted(signal);
      if (this.#questions.size >= MAX_QUESTIONS) {
        throw new ParleyError('outbox_full', `${MAX_QUESTIONS} questions wait for their answer already`);
      }
      let forget = () => {};
      /** @type {Link | undefined} */
      let on;
      const done = () => {
        clearTimeout(timer);
        unlisten();
        forget();
        this.#questions.delete(question);
        if (once && on) {
          this.#gathering--;
          this.#askWaiting();
        }
      };
      const question = {
        /** @param {ParleyError} error */
        fail(error) {
          done();
          reject(error);
        },
        lost() {
          if (once && on) question.fail(new ParleyError('lost', 'the connection was lost before there was an answer'));
        },
        /** @param {Link} link */
        put: (link) => {
          if (on === link) return; // asked by a listener of this very welcome
          if (once) {
            // The server reads no more where too much waits for others, what they wait for included.
            if (this.#gathering >= (this.limits?.inflight ?? 0) / 2) return;
            this.#gathering++;
            clearTimeout(timer);
            timer = setTimeout(late, once.within + ANSWER_LATE);
          }
          on = link;
          forget = link.ask(op, (frame) => {
            try {
              if (once && frame.op === 'answer') {
                once.more(frame);
                return;
              }
              done();
              if (frame.op === 'error') throw errorOf(frame);
              resolve(read(frame));
            } catch (error) {
              done();
              reject(error);
            }
          });
        },
      };
      const late = () => question.fail(new ParleyError('timeout', `no answer came to ${op.op}`));
      let timer = setTimeout(late, once?.within ?? ANSWER_WITHIN);
      const unlisten = listen(signal, 'abort', () => question.fail(aborted(signal)));
      this.#questions.add(question);
      if (this.status === 'open' && this.#link) question.put(this.#link);
    }));
  }

  /** Asks what had to wait for other answers. */
  #askWaiting() {
    const link = this.#link;
    if (this.status !== 'open' || !link) return;
    for (const question of this.#questions) question.put(link);
  }

  /** @param {string} name */
  rename(name) {
    // What was sent under the old name could be stored again under the new one.
    return this.#outbox.between(async () => {
      const token = await this.#token();
      return this.ask({ op: 'hello', name, token }, undefined, (frame) => {
        this.#name = name;
        this.#named(frame);
        this.#outbox.renamed(frame.user);
        return /** @type {string} */ (frame.user);
      });
    });
  }

  async #connect() {
    const turn = ++this.#tries;
    const url = this.#urls[this.#turn++ % this.#urls.length];
    this.#url = url;
    this.#setStatus({ status: 'connecting' });
    try {
      const token = await this.#token();
      if (turn !== this.#tries) return;
      this.#shown = token !== undefined;
      this.#link = new Link(new this.#Socket(url, [SUBPROTOCOL]), { name: this.#name, token }, {
        welcomed: (link, frame) => {
          this.#welcomed(link, frame);
          this.#refreshLater(link, token);
        },
        received: (_, frame) => this.#received(frame),
        ended: (link, error, refused) => this.#ended(link, error, refused),
      });
    } catch (cause) {
      if (turn !== this.#tries) return;
      this.#retry(cause instanceof ParleyError ? cause
        : new ParleyError('lost', `cannot connect: ${messageOf(cause)}`, { cause }));
    }
  }

  /** @returns {Promise<string | undefined>} */
  async #token() {
    const { token } = this.#options;
    if (typeof token !== 'function') return token;
    /** @type {any} */
    let timer;
    const late = new Promise((_, reject) => {
      timer = setTimeout(() => reject(new ParleyError('timeout', 'no token came')), TOKEN_WITHIN);
    });
    try {
      return /** @type {string | undefined} */ (await Promise.race([token(), late]));
    } finally {
      clearTimeout(timer);
    }
  }

  /**
   * Takes from a welcome, or a goodbye, where else the client may come. Only those count that are spoken to as the
   * one that says so is: what was said under TLS is not to be said without it.
   * @param {string[] | undefined} servers
   */
  #learn(servers) {
    if (!servers) return;
    const scheme = this.#url.split(':', 1)[0] + '://';
    const others = servers.slice(0, 64).filter((s) => s.startsWith(scheme) && !this.#given.includes(s));
    this.#urls = [...this.#given, ...others];
    this.#turn = this.#urls.indexOf(this.#url) + 1;
  }

  /** @param {Link} link @param {Frame} frame */
  #welcomed(link, frame) {
    this.#failed = 0;
    /** @type {Limits} */
    const limits = {
      message: 65_536, frame: 262_144, inflight: 256, rooms: 64, dedupe_ms: this.#options.dedupe ?? 600_000, ...frame.limits,
    };
    this.limits = limits;
    this.#named(frame);
    this.#learn(frame.servers);
    this.#setStatus({ status: 'open' });
    const welcome = { user: frame.user, session: frame.session, limits };
    this.events.emit('welcome', welcome);
    this.#resolveReady(welcome);
    // A listener may have closed the client, or made the link end.
    for (const { sub } of [...this.#rooms.values()]) if (this.#link === link) sub.connected(link);
    for (const question of [...this.#questions]) if (this.#link === link) question.put(link);
    // Behind the outcomes of jobs that the link before had, or they would be given out once more.
    for (const duty of [...this.#duties.values()]) if (this.#link === link) duty.connected(link);
    if (this.#link === link) this.#outbox.attach(link, limits, frame.user);
  }

  /** @param {Frame} frame a welcome */
  #named({ user }) {
    this.user = user;
    this.#users.add(user);
    // A name that the server made is kept: to be the same sender after a reconnect makes ids work.
    if (this.#name === undefined && !this.#shown) this.#name = user;
  }

  /** @param {Frame} frame */
  #received(frame) {
    const { ref, room } = frame;
    if (typeof ref === 'string' && ref.startsWith('m-')) {
      this.#outbox.answer(frame);
    } else if (typeof ref === 'string' && ref.startsWith('signal:')) {
      this.#rooms.get(ref.slice('signal:'.length))?.sub.refusedSignal(errorOf(frame));
    } else if (frame.op === 'error') {
      const late = ref === 'answer' && frame.code === 'not_found'; // nobody waits for it any more
      if (ref === undefined) this.#learn(frame.servers); // one that goes away says where to go
      if (ref === undefined || (ref === 'answer' && !late)) this.events.emit('error', errorOf(frame));
    } else if (frame.op === 'job' || frame.op === 'question') {
      this.#duties.get(dutyKey(frame))?.received(frame);
    } else if (frame.op === 'status') {
      this.#setStatus({ status: 'open', ...(!frame.available && { unavailable: String(frame.message) }) });
    } else if (typeof room === 'string') {
      const [only] = this.#parent ? this.#rooms.values() : [];
      (only ?? this.#rooms.get(room))?.sub.received(frame);
    }
  }

  /** @param {Link} link @param {ParleyError} error @param {boolean} refused */
  #ended(link, error, refused) {
    if (this.#link !== link) return;
    this.#link = null;
    for (const duty of [...this.#duties.values()]) duty.lost();
    for (const question of [...this.#questions]) question.lost();
    clearTimeout(this.#refresh);
    const { token } = this.#options;
    // A token that is no good any more stays so; a function may give another.
    const final = error.code === 'unauthorized' ? typeof token !== 'function' && (refused || token !== undefined) : refused;
    if (final) {
      this.#close(error);
      return;
    }
    if (link.useful) this.#wait.reset();
    const open = this.status === 'open';
    this.#retry(error, open);
  }

  /** Tries the next URL at once, or again in a while. @param {ParleyError} error */
  #retry(error, pause = false) {
    this.#tries++; // what is under way is stale
    this.#failed++;
    if (this.#failed < this.#urls.length && !pause) {
      this.#connect();
      return;
    }
    this.#failed = 0;
    this.#outbox.detach();
    for (const { sub } of [...this.#rooms.values()]) sub.lost();
    const retryIn = this.#wait.next(error);
    this.#timer = setTimeout(() => this.#connect(), retryIn); // it keeps Node running: the client lives
    this.#setStatus({ status: 'offline', retryIn, error });
  }

  /**
   * Says hello again, with another token, before the one that the link has ends.
   * @param {Link} link
   * @param {string | undefined} token
   */
  #refreshLater(link, token) {
    clearTimeout(this.#refresh);
    if (this.#link !== link || typeof this.#options.token !== 'function') return;
    const left = tokenEnd(token) - Date.now();
    // Jitter, so that not all who got theirs at the same time come back at the same time.
    const wait = left - Math.min(REFRESH_BEFORE, left / 5) * (0.5 + Math.random() / 2);
    if (wait >= REFRESH_LEAST && wait <= MAX_TIMEOUT) this.#refreshIn(link, wait, new Backoff());
  }

  /** @param {Link} link @param {number} ms @param {Backoff} again */
  #refreshIn(link, ms, again) {
    this.#refresh = setTimeout(async () => {
      try {
        const token = await this.#token();
        if (this.#link !== link) return;
        link.ask({ op: 'hello', name: this.#name, token }, (frame) => {
          if (frame.op === 'error') {
            // Where it is unauthorized, the link ends, and the next try asks for a token.
            this.events.emit('error', errorOf(frame));
            return;
          }
          this.#named(frame);
          this.#refreshLater(link, token);
        });
      } catch {
        if (this.#link === link) this.#refreshIn(link, again.next(), again);
      }
    }, ms);
    this.#refresh?.unref?.();
  }

  /** Where the client waits to try again, it does so now. */
  retry() {
    for (const { core } of this.#patterns.values()) core.retry();
    if (this.status !== 'offline') return;
    clearTimeout(this.#timer);
    this.#wait.reset();
    this.#connect();
  }

  /** @param {ParleyError} error */
  #close(error) {
    if (this.#fault) return;
    this.#fault = error;
    this.#tries++;
    clearTimeout(this.#timer);
    clearTimeout(this.#refresh);
    for (const stop of this.#unlisten) stop();
    const link = this.#link;
    this.#link = null;
    link?.end(error);
    for (const { core } of [...this.#patterns.values()]) core.#close(error);
    const asked = error.code === 'closed';
    for (const { sub } of [...this.#rooms.values()]) {
      sub.lost();
      sub.stop(asked ? undefined : error);
    }
    for (const question of [...this.#questions]) question.fail(error);
    for (const duty of [...this.#duties.values()]) duty.fail(error);
    this.#outbox.close(error);
    this.#failReady(error);
    this.#setStatus(asked ? { status: 'closed' } : { status: 'closed', error });
    if (!asked) this.events.emit('error', error);
  }

  /** @param {ClientEvents['status']} event */
  #setStatus(event) {
    if (this.status === event.status && this.unavailable === event.unavailable) return;
    this.status = event.status;
    this.unavailable = event.unavailable;
    this.events.emit('status', event);
  }

  /** @param {string} id */
  #own(id) {
    if (this.#ownIds.size >= MAX_OWN_IDS) {
      const [oldest] = this.#ownIds;
      this.#ownIds.delete(oldest);
    }
    this.#ownIds.add(id);
  }
}

/** @typedef {{ wall: number, steady: number }} Moment */

/** @returns {Moment} */
function now() { return { wall: Date.now(), steady: performance.now() }; }

/**
 * The milliseconds since a moment: one clock stands still while the computer sleeps, the other can
 * be set back.
 * @param {Moment} moment
 */
function since({ wall, steady }) { return Math.max(Date.now() - wall, performance.now() - steady); }

/** @returns {{ promise: Promise<any>, resolve: (value: any) => void, reject: (error: ParleyError) => void }} */
function deferred() {
  /** @type {any} */
  let resolve;
  /** @type {any} */
  let reject;
  const promise = new Promise((yes, no) => {
    resolve = yes;
    reject = no;
  });
  return { promise, resolve, reject };
}

/**
 * A promise whose rejection nobody has to look at: a program may send and not wait.
 * @template T
 * @param {Promise<T>} promise
 */
function settled(promise) {
  promise.catch(() => {});
  return promise;
}

/** @param {any} target @param {string} type @param {() => void} fn @returns {() => void} */
function listen(target, type, fn) {
  if (typeof target?.addEventListener !== 'function') return () => {};
  target.addEventListener(type, fn);
  return () => target.removeEventListener(type, fn);
}

/** @param {AbortSignal | undefined} signal */
function aborted(signal) { return new ParleyError('aborted', 'given up by the caller', { cause: signal?.reason }); }

/** @param {string} why @param {ParleyError} [cause] */
function unknown(why, cause) {
  return new ParleyError('unknown', `sent, but not acknowledged, ${why}: it may be stored or not`, { cause });
}

/** @param {Frame} frame */
function errorOf({ code, message, retry_ms }) {
  return new ParleyError(String(code), String(message), { retryMs: retry_ms });
}

/**
 * When a token ends, as a Date has it: by the exp of its payload, to the second as servers take it, which
 * is not believed beyond this. NaN where that cannot be known.
 * @param {string | undefined} token
 */
function tokenEnd(token) {
  try {
    const payload = String(token).split('.')[1].replaceAll('-', '+').replaceAll('_', '/');
    return Math.floor(JSON.parse(new TextDecoder().decode(fromBase64(payload))).exp) * 1000;
  } catch {
    return NaN;
  }
}

/** Whether a name is that of many rooms. @param {string} room */
function isPattern(room) { return room.includes('*'); }

/** @param {unknown} error */
function messageOf(error) { return error instanceof Error ? error.message : String(error); }

/** Whether the server may answer otherwise when it is asked again later. @param {ParleyError} error */
function temporary({ code }) { return code === 'unavailable' || code === 'rate_limited'; }

/** Whether what was asked may go through later, in this client's view too. @param {ParleyError} error */
function passing(error) { return temporary(error) || error.code === 'timeout' || error.code === 'outbox_full'; }

/** Keeps no program running. @param {number} ms */
function pause(ms) {
  return new Promise((resolve) => {
    /** @type {any} */
    const timer = setTimeout(resolve, ms);
    timer?.unref?.();
  });
}

/** What the frames for a duty have in common with the one that began it. @param {Frame} frame */
function dutyKey({ room, group }) { return group === undefined ? room : `${room} ${group}`; }

/** What a handler threw, as the server is told. @param {any} error @returns {Frame} */
function outcomeOf(error) {
  const fail = typeof error?.fail === 'string';
  const text = fail ? error.fail : messageOf(error);
  const { read } = new TextEncoder().encodeInto(text, new Uint8Array(MAX_REASON));
  const reason = text.slice(0, read) || undefined;
  return fail ? { op: 'fail', reason } : { op: 'retry', reason, delay: duration(error?.delay) };
}

/** @param {string | URL} given */
function socketURL(given) {
  /** @type {URL} */
  let url;
  try {
    url = new URL(given, globalThis.location?.href);
  } catch (cause) {
    throw new ParleyError('bad_request', `not a URL: ${given}`, { cause });
  }
  const http = /^https?:$/.test(url.protocol);
  if (!http && !/^wss?:$/.test(url.protocol)) {
    throw new ParleyError('bad_request', `neither ws:, wss:, http: nor https: ${given}`);
  }
  if (url.pathname === '/' || (http && !url.pathname.endsWith('/ws'))) {
    url.pathname = `${url.pathname.replace(/\/$/, '')}/ws`;
  }
  url.hash = '';
  return url.href.replace(/^http/, 'ws');
}

/** @param {Frame} frame @returns {Message} */
function readMessage(frame) {
  const { room, seq, prev, id, from, at, type } = frame;
  return { room, seq, prev, id, from, at: new Date(at), type, body: readBody(frame) };
}

/** @param {Frame} frame @returns {Job} */
function readJob(frame) {
  const { group, job, tries, deadline_ms } = frame;
  return { ...readMessage(frame), group, job, tries, deadline: deadline_ms };
}

/** @param {Frame} entry @returns {HookInfo} */
function readHook({ hook, to, rooms, pending, lag_ms, sent, dead, gone, last_success: last, failing_since: since, why }) {
  return {
    hook, to, rooms, pending, lag: lag_ms, sent, dead, gone,
    ...(last && { lastSuccess: new Date(last) }), ...(since && { failingSince: new Date(since) }), ...(why && { why }),
  };
}

/** @param {Frame} frame */
function readBody({ type, body }) { return type === 'binary' ? fromBase64(body) : body; }

/** @param {any} body @param {BodyType} [type] */
function writeBody(body, type) {
  const bytes = body instanceof ArrayBuffer ? new Uint8Array(body)
    : ArrayBuffer.isView(body) ? new Uint8Array(body.buffer, body.byteOffset, body.byteLength) : null;
  type ??= typeof body === 'string' ? 'text' : bytes ? 'binary' : 'json';
  if (type === 'text' && typeof body === 'string') return { body };
  if (type === 'binary' && bytes) return { type, body: toBase64(bytes) };
  if (type === 'json') {
    try {
      if (JSON.stringify(body) !== undefined) return { type, body };
    } catch (cause) {
      throw new ParleyError('bad_request', `the body cannot be written as JSON: ${messageOf(cause)}`, { cause });
    }
  }
  throw new ParleyError('bad_request', `the body is not ${type}`);
}

/** @param {Uint8Array} bytes */
function toBase64(bytes) {
  let binary = '';
  for (let i = 0; i < bytes.length; i += 0x8000) binary += String.fromCharCode(...bytes.subarray(i, i + 0x8000));
  return btoa(binary);
}

/** @param {string} text */
function fromBase64(text) { return Uint8Array.from(atob(text), (c) => c.charCodeAt(0)); }

/** @param {string} text @param {number} bytes */
function tooLong(text, bytes) {
  return text.length * 3 > bytes && new TextEncoder().encode(text).length > bytes;
}

/**
 * A duration and some more, so that it reaches back to the same time as before; a time stays.
 * @param {string} text such as 1h30m
 * @param {number} ms
 */
function longer(text, ms) {
  const sum = millis(text);
  return Number.isNaN(sum) ? text : `${Math.ceil(sum + ms)}ms`;
}

/** The milliseconds of a duration such as 1h30m; NaN where it is none. @param {string} text */
function millis(text) {
  if (!/^((\d+\.?\d*|\.\d+)(ns|us|µs|ms|s|m|h))+$/.test(text)) return NaN;
  /** @type {Record<string, number>} */
  const units = { ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, m: 6e4, h: 36e5 };
  let sum = 0;
  for (const [, count, unit] of text.matchAll(/([\d.]+)(ns|us|µs|ms|s|m|h)/g)) sum += Number(count) * units[unit];
  return sum;
}

/** As the protocol writes it. @param {Duration | undefined} given */
function duration(given) { return typeof given === 'number' ? `${Math.max(0, Math.round(given))}ms` : given; }

/** 16 letters that nobody can guess. */
function randomText() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => 'abcdefghijklmnopqrstuvwxyz234567'[b & 31]).join('');
}
