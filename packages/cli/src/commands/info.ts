import { arch, availableParallelism, cpus, freemem, release, totalmem, type } from 'node:os';
import type { Output } from '../main.js';
import { UsageError } from '../usage.js';
import { packageVersion } from '../version.js';

/** A line of `craft info`: what and its value. */
export type Fact = readonly [name: string, value: string];

/** `craft info`: what to put into a bug report. */
export async function infoCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.length > 0) throw new UsageError(`craft info takes no arguments, found ${argv[0]}`);
  output.out(formatFacts(hostFacts()));
  return 0;
}

/** Versions and hardware, as far as Node.js knows them. */
export function hostFacts(): Fact[] {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return [
    ['craft', packageVersion()],
    ['node', `${process.version} (${process.platform} ${arch()}, Node-API ${process.versions.napi})`],
    ['system', `${type()} ${release()}`],
    ['processor', `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} threads available`],
    ['memory', `${gib(totalmem())}, ${gib(freemem())} free`],
  ];
}

/** Names padded to one column. */
export function formatFacts(facts: readonly Fact[]): string {
  const width = Math.max(...facts.map(([name]) => name.length));
  return facts.map(([name, value]) => `${name.padEnd(width)}  ${value}\n`).join('');
}
