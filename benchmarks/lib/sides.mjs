// Runs each side of a comparison in its own process, alternating between them, so that other load on the machine affects all sides alike.
import { spawn } from 'node:child_process';

/** @typedef {{ name: string, command: string, args: string[], env?: Record<string, string> }} Side */

/** The command line of a side, for the record. */
export function commandLine(side) {
  const settings = Object.entries(side.env ?? {}).map(([name, value]) => `${name}=${value}`);
  return [...settings, side.command, ...side.args].join(' ');
}

/** One run of a side: the JSON object on the last line of its standard output. @param {Side} side */
export function runSide(side) {
  return new Promise((resolve, reject) => {
    const child = spawn(side.command, side.args, {
      env: { ...process.env, ...side.env },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let output = '';
    child.stdout.on('data', (chunk) => {
      output += chunk;
    });
    child.on('error', reject);
    child.on('close', (code) => {
      if (code === 0) resolve(JSON.parse(output.trim().split('\n').at(-1)));
      else reject(new Error(`${commandLine(side)} ended with code ${code}`));
    });
  });
}

/** @param {Side[]} sides @param {number} rounds @returns {Promise<Record<string, any[]>>} every side's results */
export async function takeTurns(sides, rounds) {
  const results = Object.fromEntries(sides.map(({ name }) => [name, []]));
  for (let round = 1; round <= rounds; round++) {
    for (const side of sides) {
      process.stderr.write(`round ${round} of ${rounds}: ${side.name}\n`);
      results[side.name].push(await runSide(side));
    }
  }
  return results;
}

/** @param {number[]} values */
export function summary(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return { min: sorted[0], median: sorted[Math.floor(sorted.length / 2)] };
}
