import { Presets, SingleBar } from 'cli-progress';
import type { Output } from './command.js';

/**
 * Progress of a run: on a terminal a bar with the estimated time left, under the log lines; elsewhere (a file, CI) only the
 * lines themselves.
 */
export class TrainProgress {
  readonly #bar: SingleBar | null;

  constructor(
    private readonly output: Output,
    start: number,
    total: number,
  ) {
    if (process.stdout.isTTY !== true) {
      this.#bar = null;
      return;
    }
    this.#bar = new SingleBar(
      {
        format:
          '{bar} {percentage}% | {value}/{total} steps | loss {loss} | {duration_formatted}, {eta_formatted} left',
        etaBuffer: 200,
        fps: 5,
        clearOnComplete: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, start, { loss: '…' });
  }

  step(step: number, loss: number): void {
    this.#bar?.update(step, { loss: loss.toFixed(4) });
  }

  /** A line above the bar. */
  print(line: string): void {
    if (this.#bar !== null) process.stdout.write('\r\x1b[2K');
    this.output.out(`${line}\n`);
  }

  stop(): void {
    this.#bar?.stop();
  }
}
