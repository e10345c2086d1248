// A worker in a process of its own, for tests to kill: node worker.js URL N. It squares numbers, and is
// stuck in the job that it gets behind N others.

import { connect } from '../parley.js';

const [url, limit] = process.argv.slice(2);
const client = connect(url, { name: 'doomed' });
const results = client.room('results', { join: false });
let begun = 0;
client.room('numbers', { join: false }).work('g', async (job) => {
  if (++begun > Number(limit)) {
    process.stdout.write(`stuck ${job.seq}\n`);
    await new Promise(() => {});
  }
  await results.send({ seq: job.seq, square: job.body ** 2 });
  process.stdout.write(`done ${job.seq}\n`);
}, { parallel: 2 });
