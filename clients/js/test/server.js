// A parley that tests start, kill and start again: the one that PARLEY_BINARY names, which js_test.go builds.

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listen } from './peer.js';

const binary = process.env.PARLEY_BINARY;
/** Of tests that need it. */
export const options = { skip: binary ? false : 'PARLEY_BINARY names no server', timeout: 60_000 };
const children = new Set();
process.on('exit', () => { for (const child of children) child.kill('SIGKILL'); });
process.on('SIGTERM', () => process.exit(1)); // the runner's, when it has waited enough

/** A server with a data directory and a port that outlive it. */
export async function parley(t, ...flags) {
  const data = await mkdtemp(join(tmpdir(), 'parley-js-'));
  const free = await listen();
  await free.close();
  let child;
  const server = {
    url: `http://127.0.0.1:${free.port}`,
    async start() {
      child = spawn(binary, ['serve', '--data', data, '--tcp', '127.0.0.1:0', '--http', `127.0.0.1:${free.port}`, ...flags], {
        stdio: ['ignore', 'ignore', 'pipe'],
      });
      children.add(child);
      let said = '';
      await new Promise((resolve, reject) => {
        child.stderr.on('data', (text) => {
          said += text;
          if (/^http +\S+:\d+$/m.test(said)) resolve();
        });
        child.on('exit', () => reject(new Error(`the server ended: ${said}`)));
      });
    },
    async stop(signal) {
      if (child.exitCode !== null || child.signalCode !== null) return;
      child.kill(signal);
      await once(child, 'exit');
    },
  };
  t.after(async () => {
    await server.stop('SIGKILL');
    await rm(data, { recursive: true, force: true });
  });
  await server.start();
  // Until all of it is there: a WebSocket is asked to upgrade (426), or told what is wrong (400).
  if ((await fetch(`${server.url}/ws`)).status === 404) {
    t.skip('this server has no /ws');
    return null;
  }
  return server;
}
