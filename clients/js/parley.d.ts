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
  seq: number;
  id: string;
  /** It was there before, under this id. */
  duplicate: boolean;
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
  /** Tell of members that come and go; false. */
  presence?: boolean;
  /** Whether to get what this client sends; true. */
  echo?: boolean;
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
  gap: { after: number; next: number };
  /** members: who is there, all of them, where it is told anew; count alone in a big room. */
  presence: { joined: Member[]; left: Member[]; members?: Member[]; count: number };
  signal: { from: string; body: any };
  /** Also after each reconnect. */
  joined: { seq: number; count?: number; members?: Member[] };
  /** After a reconnect: what was missed has come. */
  caughtup: { messages: number };
  /** The room cannot be read (for good), or a signal was refused. */
  error: ParleyError;
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
   * Sends a message: a string is text, bytes are binary, anything else is JSON; id is the key under which
   * it is stored once. The promise resolves when it is durable. It rejects with what the server refuses for
   * good, with outbox_full, or with unknown where it was sent, no answer came, and it is too late to send
   * it again.
   */
  send(body: any, options?: { type?: BodyType; id?: string }): Promise<Receipt>;
  /** Reads a page of the past, by rising seq: the newest, or those next to a position. */
  history(options?: Asking & { before?: number; after?: number; limit?: number }): Promise<{ messages: Message[]; more: boolean }>;
  /** Says who is in the room: up to 200 by name. */
  members(options?: Asking): Promise<{ members: Member[]; count: number }>;
  /** Tells the other members something that is not stored. False: it could not go out, and is lost. */
  signal(body: any): boolean;
  /** Leaves the room; its iterators end. Sending goes on to work. */
  leave(): void;
  /** The room's messages. There is one stream: two iterators share it. Ending a loop leaves the room. */
  [Symbol.asyncIterator](): AsyncIterableIterator<Message>;
}
