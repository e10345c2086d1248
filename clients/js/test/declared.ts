// Holds parley.d.ts against the types that tsc finds in parley.js: the one is 'written' here, the other
// 'source'. It is compiled by js_test.go and never run.
import type * as source from 'source';
import type * as written from 'written';
import { connect, Fail, ParleyError, Retry, type Answer } from 'written';

/** Whether each can stand for the other. Their keys are compared too: an optional one may be forgotten. */
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? ([keyof A] extends [keyof B] ? ([keyof B] extends [keyof A] ? true : 'keys') : 'keys') : 'narrower') : 'wider';

export const same: {
  exports: Same<keyof typeof written, keyof typeof source>;
  connect: Same<Parameters<typeof written.connect>, Parameters<typeof source.connect>>;
  ParleyError: Same<typeof written.ParleyError, typeof source.ParleyError>;
  Fail: Same<typeof written.Fail, typeof source.Fail>;
  Retry: Same<typeof written.Retry, typeof source.Retry>;
  Client: Same<written.Client, source.Client>;
  Room: Same<written.Room, source.Room>;
  Service: Same<written.Service, source.Service>;
  Status: Same<written.Status, source.Status>;
  BodyType: Same<written.BodyType, source.BodyType>;
  Limits: Same<written.Limits, source.Limits>;
  Member: Same<written.Member, source.Member>;
  RoomInfo: Same<written.RoomInfo, source.RoomInfo>;
  GroupInfo: Same<written.GroupInfo, source.GroupInfo>;
  ReaderInfo: Same<written.ReaderInfo, source.ReaderInfo>;
  HookInfo: Same<written.HookInfo, source.HookInfo>;
  Message: Same<written.Message, source.Message>;
  Receipt: Same<written.Receipt, source.Receipt>;
  Options: Same<written.Options, source.Options>;
  RoomOptions: Same<written.RoomOptions, source.RoomOptions>;
  ClientEvents: Same<written.ClientEvents, source.ClientEvents>;
  RoomEvents: Same<written.RoomEvents, source.RoomEvents>;
  ServiceEvents: Same<written.ServiceEvents, source.ServiceEvents>;
  SendOptions: Same<written.SendOptions, source.SendOptions>;
  WorkOptions: Same<written.WorkOptions, source.WorkOptions>;
  AnswerOptions: Same<written.AnswerOptions, source.AnswerOptions>;
  AskOptions: Same<written.AskOptions, source.AskOptions>;
  Job: Same<written.Job, source.Job>;
  Question: Same<written.Question, source.Question>;
  Answer: Same<written.Answer, source.Answer>;
} = {
  exports: true, connect: true, ParleyError: true, Client: true, Room: true, Status: true, BodyType: true, Limits: true,
  Member: true, RoomInfo: true, GroupInfo: true, ReaderInfo: true, HookInfo: true, Message: true, Receipt: true, Options: true, RoomOptions: true, ClientEvents: true,
  RoomEvents: true, Fail: true, Retry: true, Service: true, ServiceEvents: true, SendOptions: true, WorkOptions: true,
  AnswerOptions: true, AskOptions: true, Job: true, Question: true, Answer: true,
};

/** What programs write. */
export async function program(): Promise<void> {
  const client = connect('http://127.0.0.1:8080', { name: 'ada', token: async () => 'secret' });
  const room = client.room('lobby', { last: 20, presence: true });
  const stop: () => void = room.on('presence', ({ count, members }) => console.log(count, members?.[0].user));
  const { seq }: { seq: number } = await room.send({ any: ['value'] }, { id: 'k-1' });
  for await (const m of room) {
    if (m.type === 'binary') m.body.byteLength;
    if (m.type === 'text') m.body.trim();
    if (m.seq === seq) break;
  }
  // @ts-expect-error: one makes a client with connect
  new (client.constructor as typeof written.Client)();
  // @ts-expect-error: there is no such event
  client.on('message', () => {});
  // @ts-expect-error: a seq is a number
  client.room('lobby', { after: '812' });
  client.on('error', (e) => e instanceof ParleyError && e.retryMs);
  const work = room.work('g', async (job, { signal }) => {
    if (job.type !== 'json') throw new Fail('no JSON');
    if (job.tries < 3) throw new Retry('not yet', '10s');
    await fetch(job.body.url, { signal });
  }, { parallel: 4, deadline: 60_000 });
  work.on('lost', ({ job, error }) => console.log(job.seq, error.code));
  const first: Answer = await room.ask({ sku: 'apple' }, { timeout: 500 });
  const all: Answer[] = await room.askAll('who is there?', { most: 3 });
  room.answer((question) => ({ to: question.from, first, all }));
  await room.send('later', { delay: '10m', key: 'k', priority: 9 });
  await work.stop();
  stop();
  client.close();
}
