/**
 * What programs see of parley.js, written by hand: the types that its comments name, and no more. A
 * test holds the two against each other.
 */

/** offline: waiting to try again; closed: for good. */
export type Status = 'connecting' | 'open' | 'offline' | 'closed';

export type BodyType = 'text' | 'json' | 'binary';

/** What a server takes: bytes of a body and of a frame, sends in flight, rooms, and how long it knows an id. */
export interface Limits {
  message: number;
  frame: number;
  inflight: number;
  rooms: number;
  dedupe_ms: number;
}

export interface Member {
  user: string;
}

export interface RoomInfo {
  room: string;
  /** Of the newest message; 0 = none. */
  seq: number;
  /** That are left. */
  messages: number;
  members: number;
}

export interface GroupInfo {
  group: string;
  /** Jobs that are not finished, those that are taken included. */
  pending: number;
  /** Of these, those that a worker holds. */
  taken: number;
  /** Dead letters that it has made since it began. */
  dead: number;
  /** That take from it. */
  sessions: number;
}

export interface ReaderInfo {
  reader: string;
  /** Up to which it has dealt with the room. */
  seq: number;
}

export interface HookInfo {
  hook: string;
  /** Scheme and host of its URL. */
  to: string;
  rooms: string[];
  /** Rooms with messages that are still to be posted. */
  pending: number;
  /** The age of the oldest of these messages, in milliseconds. */
  lag: number;
  /** Since the server started; likewise dead letters. */
  sent: number;
  dead: number;
  /** Its receiver wants nothing any more. */
  gone: boolean;
  /** Absent: none since the server started. */
  lastSuccess?: Date;
  /** Absent: the last request was taken. */
  failingSince?: Date;
  why?: string;
}

interface Envelope {
  room: string;
  /** Its position in the room. */
  seq: number;
  /** The seq of the room's message before it. */
  prev: number;
  /** As its sender gave it. */
  id: string;
  /** The sender, in the server's word. */
  from: string;
  /** When the server took it. */
  at: Date;
}

/** One message; its type says what the body is. */
export type Message = Envelope &
  ({ type: 'text'; body: string } | { type: 'json'; body: any } | { type: 'binary'; body: Uint8Array });

/** Says that a message is durable, and where. */
export interface Receipt {
  room: string;
  /** 0 if it is due later. */
  seq: number;
  id: string;
  /** It was there before, under this id. */
  duplicate: boolean;
}

/** Milliseconds, or such as '10s' and '1h30m'. */
export type Duration = number | string;

export interface SendOptions {
  /** What the body is; it shows by itself. */
  type?: BodyType;
  /** The key under which the message is stored once. */
  id?: string;
  /** The server keeps the message so long, from when it takes it. */
  delay?: Duration;
  /** Or until this time. */
  due?: string | Date;
  /** A worker is given it within this time or never. */
  ttl?: Duration;
  /** Workers do the jobs of one key one at a time, in order. */
  key?: string;
  /** 0 to 9: workers are given those with a higher one first; 0. */
  priority?: number;
}

/** A message that one worker of a group must finish. */
export type Job = Message & {
  group: string;
  /** How the server calls it. */
  job: string;
  /** 1 = given out for the first time. */
  tries: number;
  /** In milliseconds. */
  deadline: number;
};

export interface Question {
  room: string;
  /** How the server calls it. */
  question: string;
  from: string;
  type: BodyType;
  body: any;
  /** Then nobody waits for an answer any more. */
  until: Date;
}

export interface Answer {
  room: string;
  from: string;
  type: BodyType;
  body: any;
}

/** At most one of after, last and since: where a group begins that is not there yet; none = with the oldest message left. */
export interface WorkOptions {
  /** Jobs to handle at a time, 1 to 256; 1. */
  parallel?: number;
  /** Jobs to hold, those being handled included; as many as are handled at a time. */
  prefetch?: number;
  /** The silence after which a job is taken from this worker, not the time that its handler may take; 30 s. */
  deadline?: Duration;
  /** How often a job is given out before it is a dead letter; 5. */
  tries?: number;
  /** Begin behind the message with this seq; 0 = with the oldest. */
  after?: number;
  /** Begin with this many of the newest. */
  last?: number;
  /** Begin with those not older. */
  since?: string | Date;
  /** Stops the work. */
  signal?: AbortSignal;
}

export interface AnswerOptions {
  /** Questions to handle at a time; 16. */
  parallel?: number;
  signal?: AbortSignal;
}

export interface AskOptions {
  type?: BodyType;
  /** How long to wait for answers, 50 s at most; 5 s. */
  timeout?: Duration;
  /** Gives up. */
  signal?: AbortSignal;
}

export interface Options {
  /**
   * A function is called for each try, and a little before the token that it gave ends; it gives none where a cookie says
   * who one is.
   */
  token?: string | (() => string | undefined | Promise<string | undefined>);
  /** To go by, where the server does not take it from the token. */
  name?: string;
  /** A class to use in place of the global one. */
  WebSocket?: new (url: string, protocols: string[]) => WebSocket;
  /** How many messages may wait for their ack; 1,000. */
  outbox?: number;
  /** Milliseconds for which a server that does not say so itself knows an id; 600,000. */
  dedupe?: number;
  /** Closes the client. */
  signal?: AbortSignal;
}

/** At most one of after, last and since; none = from now on. */
export interface RoomOptions {
  /** Begin behind the message with this seq; 0 = with the oldest. */
  after?: number;
  /** Begin with this many of the newest. */
  last?: number;
  /** Begin with those not older: '10m', '24h', or a time. */
  since?: string | Date;
  /** Of a pattern: begin behind what came in front of this, as a cursor event gave it. */
  cursor?: string;
  /** Tell of members that come and go; false. */
  presence?: boolean;
  /** Whether to get what this client sends; true. */
  echo?: boolean;
  /**
   * The durable reader to go on as: the server remembers where it is, and after, last and since count only
   * if it does not know it yet.
   */
  reader?: string;
  /** Whether a reader's loop says done of each message when it asks for the next; true. */
  autoDone?: boolean;
  /** False: for sending, working and asking alone, without being in the room. */
  join?: boolean;
}

/** Gives up a question. */
export interface Asking {
  signal?: AbortSignal;
}

export interface ClientEvents {
  /**
   * retryIn: in milliseconds, if it is offline. unavailable: why the server, though it is there, stores nothing for now, as
   * it tells those who are in a room.
   */
  status: { status: Status; retryIn?: number; error?: ParleyError; unavailable?: string };
  /** Of each connection. */
  welcome: { user: string; session: string; limits: Limits };
  /** One that rejects no promise. */
  error: ParleyError;
}

export interface RoomEvents {
  message: Message;
  /** Messages between these two seqs are gone, or may be. */
  gap: { after: number; next: number; room?: string };
  /** Of a pattern: where it is, behind the messages so far; now and then. */
  cursor: { cursor: string };
  /** members: who is there, all of them, where it is told anew; count alone in a big room. */
  presence: { joined: Member[]; left: Member[]; members?: Member[]; count: number };
  signal: { from: string; body: any };
  /** Also after each reconnect. */
  joined: { seq: number; count?: number; members?: Member[] };
  /** After a reconnect: what was missed has come. */
  caughtup: { messages: number };
  /** The room cannot be read (for good), or a signal or a reader's done was refused. */
  error: ParleyError;
}

export interface ServiceEvents {
  /** A job was handled, and the server did not take the outcome: it is finished, or another worker's by now. */
  lost: { job: Job; error: ParleyError };
  /** A question is not answered, since its handler threw. */
  failed: { question: Question; error: unknown };
}

/** An error of the server's, or of this client: code is for programs, message for people. */
export class ParleyError extends Error {
  /**
   * code is one of the protocol's, or of the client's own: unknown (sent, but not acknowledged: it may
   * be stored or not), outbox_full, timeout, closed, lost, aborted.
   */
  constructor(code: string, message: string, more?: { retryMs?: number; cause?: unknown });
  code: string;
  /** When the server says to come back, in milliseconds. */
  retryMs: number | undefined;
}

/** Thrown by a worker's handler: the job is not tried again, but becomes a dead letter with this reason. */
export class Fail extends Error {
  constructor(reason: string);
  fail: string;
}

/** Thrown by a worker's handler: the job is tried again, though not before a delay. */
export class Retry extends Error {
  constructor(reason: string, delay: Duration);
  delay: Duration;
}

/**
 * Connects to a server, or to one of several that are all the same to it, which are taken in turn. It
 * returns at once and connects in the background; `await client.ready` waits for that. It throws where a
 * URL is none: `ws://host/ws`, or `http://host`, which stands for that.
 */
export function connect(url: string | URL | (string | URL)[], options?: Options): Client;

/**
 * A program's way to a server. It keeps one connection, makes a new one when it is lost, and takes up
 * there what was under way: no call has to be repeated.
 */
export class Client {
  private constructor();
  /** The first welcome; rejects if the server refuses this client, or it is closed before. */
  ready: Promise<ClientEvents['welcome']>;
  get status(): Status;
  /** Why the server stores nothing for now, though it is there; undefined where it does. What is sent waits. */
  get unavailable(): string | undefined;
  /** Who the client is, in the server's word. */
  get user(): string | undefined;
  /** What the server takes; undefined before the first welcome. */
  get limits(): Limits | undefined;
  /** Calls fn for each event of a type, until the function that it returns is called. */
  on<K extends keyof ClientEvents>(type: K, fn: (event: ClientEvents[K]) => void): () => void;
  /**
   * Joins a room and stays in it, through lost connections, until Room.leave. A room that this client is
   * in already is given again, as it is: its options are those of the first call.
   */
  room(name: string, options?: RoomOptions): Room;
  /** Lists rooms by name; after is the last name of the page before. */
  rooms(options?: Asking & { after?: string; limit?: number }): Promise<{ rooms: RoomInfo[]; more: boolean }>;
  /** Lists the server's hooks that post, by name, and how each fares. It takes the right admin for every room. */
  hooks(options?: Asking): Promise<HookInfo[]>;
  /** Asks for a sign of life: the milliseconds that it took. */
  ping(options?: Asking): Promise<number>;
  /** Takes another name, when what was sent under the old one has its answer: the name in the server's word. */
  rename(name: string): Promise<string>;
  /** Tries again now, where the client waits to do so: after signing in, say. */
  retry(): void;
  /** Ends the connection and everything that waits: what was sent and not acknowledged rejects. */
  close(): void;
}

/**
 * A room as one client is in it. Iterating over it, or listening for its messages, gives them in order and
 * each once, from where client.room said. Where nobody takes them, some 1,000 wait; then the room is left,
 * and joined again behind the last when they are taken.
 */
export class Room {
  private constructor();
  name: string;
  /** The seq of the last message received, or where to begin; undefined before there is one. */
  get seq(): number | undefined;
  /** Calls fn for each event of a type, until the function that it returns is called. */
  on<K extends keyof RoomEvents>(type: K, fn: (event: RoomEvents[K]) => void): () => void;
  /**
   * Sends a message: a string is text, bytes are binary, anything else is JSON. The promise resolves when it is durable. It rejects with what the server refuses for
   * good, with outbox_full, or with unknown where it was sent, no answer came, and it is too late to send
   * it again.
   */
  send(body: any, options?: SendOptions): Promise<Receipt>;
  /**
   * Takes jobs of a group, in which workers share out the room's messages, and has handler do each, through
   * lost connections. When handler is through the job is done. What it throws has it tried again, after the
   * error's delay or a while; a Fail, or { fail: reason }, makes a dead letter. While it runs the client says
   * in time that it is busy. Its signal is aborted when the job is another worker's, or the client is closed.
   */
  work(group: string, handler: (job: Job, context: { signal: AbortSignal }) => any, options?: WorkOptions): Service;
  /**
   * Asks those who answer in this room, and gives the first answer. It rejects with no_responders, timeout, or
   * lost: it is not asked again when the connection is lost.
   */
  ask(body: any, options?: AskOptions): Promise<Answer>;
  /** The same for many answers, one at least; most: how many are enough, 1,000 at most; 1,000. */
  askAll(body: any, options?: AskOptions & { most?: number }): Promise<Answer[]>;
  /** Answers what is asked in this room: with what handler returns, as in send, or not at all where that is undefined. */
  answer(handler: (question: Question) => any, options?: AnswerOptions): Service;
  /**
   * Says that the room's reader has dealt with all up to and including seq; resolves when that is durable, with
   * the position that counts now.
   */
  done(seq: number): Promise<number>;
  /** Reads a page of the past, by rising seq: the newest, or those next to a position. */
  history(options?: Asking & { before?: number; after?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** Says who is in the room: up to 200 by name. */
  members(options?: Asking): Promise<{ members: Member[]; count: number }>;
  /** Lists the groups that work in the room, by name. It takes the right to work here. */
  groups(options?: Asking): Promise<GroupInfo[]>;
  /** Lists the durable readers of the room by name; after is the last name of the page before. It takes the right to read here. */
  readers(options?: Asking & { after?: string; limit?: number }): Promise<{ readers: ReaderInfo[]; more: boolean }>;
  /**
   * Removes a group with its jobs: those that are not finished are never done. Rejects with conflict while anybody
   * takes from it, and with not_found where there is none. It takes the right to moderate.
   */
  removeGroup(group: string, options?: Asking): Promise<void>;
  /** Removes a durable reader with its position; likewise. */
  removeReader(reader: string, options?: Asking): Promise<void>;
  /** Tells the other members something that is not stored. False: it could not go out, and is lost. */
  signal(body: any): boolean;
  /** Leaves the room; its iterators end. Sending goes on to work. */
  leave(): void;
  /** The room's messages. There is one stream: two iterators share it. Ending a loop leaves the room. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
}

/** What a client does for others in a room, working or answering, until it is stopped. */
export class Service {
  private constructor();
  /** Resolves when it is stopped, or the client closed; rejects if the server refuses it. */
  ended: Promise<void>;
  /** Calls fn for each event of a type, until the function that it returns is called. */
  on<K extends keyof ServiceEvents>(type: K, fn: (event: ServiceEvents[K]) => void): () => void;
  /** Takes no more, and gives back what was not begun. Resolves when what was begun is through, and the server knows. */
  stop(): Promise<void>;
}
