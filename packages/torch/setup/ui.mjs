// What set-up says on the terminal, and how it runs other programs: quiet while all is well, in full when not.
import { spawn, spawnSync } from 'node:child_process';
import { accessSync, constants, statSync } from 'node:fs';
import { delimiter, join } from 'node:path';

/** A failure that the reader can act on: printed as one line, without a stack trace. */
export class SetupError extends Error {
  /**
   * @param {string} message what is wrong and what to do about it
   * @param {number} [exitCode] 3 means that the libtorch asked for is not to be had here
   */
  constructor(message, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** @param {string} line */
export const say = (line) => process.stdout.write(`${line}\n`);

/** @param {string} name @returns {string | null} the program's path, or null when PATH has none */
export function which(name) {
  const paths = name.includes('/')
    ? [name]
    : (process.env.PATH ?? '').split(delimiter).map((d) => join(d, name));
  for (const path of paths) {
    try {
      accessSync(path, constants.X_OK);
      if (statSync(path).isFile()) return path;
    } catch {}
  }
  return null;
}

/**
 * Runs a short probe and returns its trimmed standard output, or null when it fails or takes too long.
 * @param {string} command
 * @param {string[]} args
 * @param {number} [timeout] milliseconds
 */
export function probe(command, args, timeout = 10_000) {
  const run = spawnSync(command, args, { encoding: 'utf8', timeout, stdio: ['ignore', 'pipe', 'ignore'] });
  return run.status === 0 ? run.stdout.trim() : null;
}

/**
 * Shows a title and, while `work` is running, the seconds it has taken: in place on a terminal, else a line
 * now and then, so that a log shows that something is still going on.
 * @template T
 * @param {string} title
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function step(title, work) {
  const start = Date.now();
  const seconds = () => Math.round((Date.now() - start) / 1000);
  const live = process.stdout.isTTY === true;
  if (live) process.stdout.write(`${title} ...`);
  else say(`${title} ...`);
  const timer = setInterval(
    () =>
      live ? process.stdout.write(`\r${title} ... ${seconds()} s`) : say(`  still at it, ${seconds()} s`),
    live ? 1000 : 20_000,
  );
  let outcome = 'failed';
  try {
    const result = await work();
    outcome = 'done';
    return result;
  } finally {
    clearInterval(timer);
    say(live ? `\r${title} ... ${outcome}, ${seconds()} s` : `  ${outcome}, ${seconds()} s`);
  }
}

/**
 * Runs a program; its output is kept back and becomes part of the error when it fails.
 * @param {string} command
 * @param {string[]} args
 * @param {{ cwd?: string, env?: NodeJS.ProcessEnv, timeout?: number }} [options]
 * @returns {Promise<string>} standard output and error together
 */
export function run(command, args, options = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
    let output = '';
    child.stdout.on('data', (chunk) => (output += chunk));
    child.stderr.on('data', (chunk) => (output += chunk));
    child.on('error', (error) => reject(new SetupError(`${command} could not be started: ${error.message}`)));
    child.on('close', (code, signal) => {
      if (code === 0) return resolve(output);
      const how = signal ? `was stopped by ${signal}` : `failed with exit code ${code}`;
      reject(
        new SetupError(
          `${output.trimEnd()}\n\n${[command, ...args].join(' ')}\n${how}; its output is above.`,
        ),
      );
    });
  });
}
