import { Presets, SingleBar } from 'cli-progress';
import type { Output } from './command.js';

/**
 * Progress of work in stages: on a terminal a bar with the estimated time left, elsewhere a line at each tenth of a stage.
 */
export class StageProgress {
  #bar: SingleBar | null = null;
  #stage = '';
  #tenth = -1;

  constructor(private readonly output: Output) {}

  update(stage: string, done: number, total: number): void {
    if (stage !== this.#stage) this.#begin(stage, total);
    this.#bar?.update(done);
    const tenth = Math.floor((10 * done) / total);
    if (this.#bar !== null || tenth === this.#tenth) return;
    this.#tenth = tenth;
    this.output.err(`${stage}: ${done} of ${total}\n`);
  }

  #begin(stage: string, total: number): void {
    this.stop();
    this.#stage = stage;
    this.#tenth = 0;
    if (process.stdout.isTTY !== true) return;
    this.#bar = new SingleBar(
      {
        format: `{bar} {percentage}% | {value}/{total} ${stage} | {duration_formatted}, {eta_formatted} left`,
        fps: 5,
        clearOnComplete: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, 0);
  }

  /** A line above the bar, on standard error. */
  print(line: string): void {
    if (this.#bar !== null) process.stdout.write('\r\x1b[2K');
    this.output.err(`${line}\n`);
  }

  warn(line: string): void {
    this.print(`craft: warning: ${line}`);
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}
