import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { hostname, tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { whileLocked } from './lock.js';

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'craft-lock-'));
});
afterEach(() => {
  vi.useRealTimers();
  rmSync(root, { recursive: true });
});

/** Makes any existing lock look as if its holder had stalled for two minutes. */
function stall(): void {
  const then = new Date(Date.now() - 120_000);
  for (const entry of readdirSync(root, { recursive: true, encoding: 'utf8' })) {
    utimesSync(join(root, entry), then, then);
  }
}

/** A download that holds the lock until it is told to finish. */
function hold(onWait: () => void = () => {}) {
  let end = () => {};
  const ended = new Promise<void>((resolve) => {
    end = resolve;
  });
  let runs = 0;
  let done: Promise<number> | undefined;
  const started = new Promise<AbortSignal>((resolve) => {
    done = whileLocked(root, onWait, async (signal) => {
      runs++;
      resolve(signal);
      await ended;
      signal.throwIfAborted();
      return runs;
    });
  });
  return { started, end, done: done! };
}

test('one at a time, and nothing is left behind', async () => {
  const log: string[] = [];
  const waits: string[] = [];
  const download = (name: string) =>
    whileLocked(
      root,
      () => waits.push(name),
      async () => {
        log.push(`${name} begins`);
        await sleep(20);
        log.push(`${name} ends`);
      },
    );
  await Promise.all([download('a'), download('b')]);
  expect(log).toEqual(['a begins', 'a ends', 'b begins', 'b ends']);
  expect(waits).toEqual(['b']);
  expect(readdirSync(join(root, '.cache/craft'))).toEqual([]);
});

test.each([
  ['a process that has died', { pid: 2 ** 30, host: hostname() }, 0],
  ['another machine that has gone silent', { pid: 1, host: 'elsewhere' }, 120],
])('the lock of %s is taken over', async (_, holder, age) => {
  const folder = join(root, '.cache/craft/locked');
  const path = join(folder, 'theirs');
  mkdirSync(folder, { recursive: true });
  writeFileSync(path, JSON.stringify(holder));
  utimesSync(path, new Date(), new Date(Date.now() - age * 1000));
  const onWait = vi.fn();
  const [name] = await whileLocked(root, onWait, async () => readdirSync(folder));
  expect(name).not.toBe('theirs');
  expect(onWait).not.toHaveBeenCalled();
  expect(existsSync(folder)).toBe(false);
});

test('who lost the lock leaves the new holder its own', async () => {
  const first = hold();
  await first.started;
  stall();
  const second = hold();
  await second.started;
  first.end();
  await first.done;
  let thirdWaits = false;
  const third = hold(() => {
    thirdWaits = true;
  });
  await sleep(300);
  expect(thirdWaits).toBe(true);
  second.end();
  third.end();
  await Promise.all([second.done, third.done]);
});

test('who lost the lock notices, stops, and goes on when it is free again', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  let waits = 0;
  const first = hold(() => waits++);
  const signal = await first.started;
  stall();
  const second = hold();
  await second.started;
  expect(signal.aborted).toBe(false);
  vi.advanceTimersByTime(5000);
  expect(signal.aborted).toBe(true);
  first.end();
  await sleep(150);
  expect(waits).toBe(1);
  second.end();
  expect(await first.done).toBe(2);
  expect(await second.done).toBe(1);
});

test('a holder that stays alive keeps its lock', async () => {
  vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] });
  const first = hold();
  const signal = await first.started;
  stall();
  vi.advanceTimersByTime(5000);
  let secondWaits = false;
  const second = hold(() => {
    secondWaits = true;
  });
  await sleep(250);
  expect([secondWaits, signal.aborted]).toEqual([true, false]);
  first.end();
  second.end();
  expect(await Promise.all([first.done, second.done])).toEqual([1, 1]);
});

test('a failure is passed on and gives the lock up', async () => {
  const failed = whileLocked(
    root,
    () => {},
    async () => {
      throw new Error('no luck');
    },
  );
  await expect(failed).rejects.toThrow('no luck');
  expect(existsSync(join(root, '.cache/craft'))).toBe(true);
  expect(readdirSync(join(root, '.cache/craft'))).toEqual([]);
});
