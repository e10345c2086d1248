// The programs of README.md, run as they stand there: they print what stands behind them.

import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { options, parley } from './server.js';

const run = promisify(execFile);
const client = new URL('../parley.js', import.meta.url);
const readme = await readFile(new URL('../README.md', import.meta.url), 'utf8');
const programs = [...readme.matchAll(/```js\n(import [^]*?)```\n(?:\n```text\n([^]*?)```)?/g)];

test('there are programs', () => assert.equal(programs.length, 4));

for (const [i, [, program, printed]] of programs.entries()) {
  test(`program ${i + 1}`, options, async (t) => {
    const server = await parley(t);
    if (!server) return;
    const dir = await mkdtemp(join(tmpdir(), 'parley-js-'));
    t.after(() => rm(dir, { recursive: true, force: true }));
    const file = join(dir, 'program.mjs');
    await writeFile(file, program.replaceAll('./parley.js', client.href).replaceAll('http://127.0.0.1:8080', server.url));
    const { stdout } = await run(process.execPath, [file], { timeout: 30_000 });
    if (printed === undefined) assert.match(stdout, /ada hello\n$/);
    else assert.equal(stdout, printed);
  });
}
