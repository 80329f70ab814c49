import { Presets, SingleBar } from 'cli-progress';
import type { Output } from './command.js';

/** Progress so far. */
interface Done {
  done: number;
  total: number;
  /** What is counted: steps, episodes, … */
  unit: string;
  /** Further information in a few words; may be empty. */
  note: string;
}

/**
 * Progress of long work in one or more stages. On a terminal: a bar with the estimated time left, below the printed lines; elsewhere (a
 * file, CI) a line at each tenth of a stage, or nothing.
 */
export class Progress {
  #bar: SingleBar | null = null;
  #unit = '';
  #total = 0;
  #tenths = 0;

  /** @param line the text for a tenth when there is no terminal; default: none is written. */
  constructor(
    private readonly output: Output,
    private readonly line: ((done: Done) => string) | null = null,
  ) {}

  /** Starts a stage; the previous one is over. */
  begin(unit: string, total: number, { start = 0, note = '' }: { start?: number; note?: string } = {}): void {
    this.stop();
    [this.#unit, this.#total, this.#tenths] = [unit, total, 0];
    // The stream that cli-progress draws on.
    if (process.stderr.isTTY !== true) return;
    this.#bar = new SingleBar(
      {
        format: `{bar} {percentage}% | {value}/{total} ${unit} | {note}{duration_formatted}, {eta_formatted} left`,
        etaBuffer: 200,
        fps: 5,
        clearOnComplete: true,
        gracefulExit: false,
      },
      Presets.shades_classic,
    );
    this.#bar.start(total, start, payload(note));
  }

  update(done: number, note = ''): void {
    this.#bar?.update(done, payload(note));
    const tenths = Math.floor((10 * done) / this.#total);
    if (this.#bar !== null || this.line === null || tenths <= this.#tenths) return;
    this.#tenths = tenths;
    this.output.err(`${this.line({ done, total: this.#total, unit: this.#unit, note })}\n`);
  }

  /** {@link update}, starting a new stage when `unit` changes. */
  stage(unit: string, done: number, total: number): void {
    if (unit !== this.#unit) this.begin(unit, total);
    this.update(done);
  }

  /** Prints a line above the bar. */
  print(line: string, stream: 'out' | 'err' = 'out'): void {
    if (this.#bar !== null) process.stderr.write('\r\x1b[2K');
    this.output[stream](`${line}\n`);
  }

  warn(line: string): void {
    this.print(`craft: warning: ${line}`, 'err');
  }

  stop(): void {
    this.#bar?.stop();
    this.#bar = null;
  }
}

const payload = (note: string) => ({ note: note === '' ? '' : `${note} | ` });

/** Progress over episodes. */
export function episodeProgress(output: Output, total: number): Progress {
  const progress = new Progress(
    output,
    ({ done, total: all, unit, note }) => `${done}/${all} ${unit} | ${note}`,
  );
  progress.begin('episodes', total);
  return progress;
}

/** Progress of work in several stages, each named after what it counts. */
export function stageProgress(output: Output): Progress {
  return new Progress(output, ({ done, total, unit }) => `${unit}: ${done} of ${total}`);
}
