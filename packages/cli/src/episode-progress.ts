import { Presets, SingleBar } from 'cli-progress';
import type { Output } from './command.js';

/** Progress over episodes: a bar with the time left on a terminal, else a line at every tenth. */
export class EpisodeProgress {
  readonly #output: Output;
  readonly #total: number;
  readonly #bar: SingleBar | null;
  #lines = 0;

  constructor(output: Output, total: number) {
    this.#output = output;
    this.#total = total;
    if (process.stderr.isTTY !== true) {
      this.#bar = null;
      return;
    }
    this.#bar = new SingleBar(
      {
        format: '{bar} {value}/{total} episodes | {note} | {eta_formatted} left',
        stream: process.stderr,
        clearOnComplete: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, 0, { note: '' });
  }

  /** @param note what else is known, in a few words */
  update(episodes: number, note: string): void {
    this.#bar?.update(episodes, { note });
    const tenths = Math.floor((10 * episodes) / this.#total);
    if (this.#bar !== null || tenths <= this.#lines) return;
    this.#lines = tenths;
    this.#output.err(`${episodes}/${this.#total} episodes | ${note}\n`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
