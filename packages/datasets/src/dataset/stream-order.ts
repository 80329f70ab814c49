import { CraftError } from '@craft-ft/torch';
import { shuffle, Xoshiro128 } from './random.js';

/** A frame of a stream: row `row` of the rows read from file `file`. */
export interface StreamedFrame {
  readonly file: number;
  readonly row: number;
}

/** One step of a stream. */
interface StreamStep {
  /** The frame that comes out. */
  readonly frame: StreamedFrame;
  /** Frames that enter the buffer, to be read before the next step. */
  readonly entered: readonly StreamedFrame[];
  /** Files with no frames left to enter in this epoch. */
  readonly finished: readonly number[];
}

interface StreamOrderOptions {
  seed: number;
  shuffle: boolean;
  bufferSize: number;
  openFiles: number;
}

/**
 * The order of a stream through a shuffle buffer, without its data: computed from (seed, epoch) and the number of rows of each
 * file, so that a position can be restored by counting alone.
 *
 * Per epoch: the files in shuffled order, `openFiles` of them open at a time; frames enter the buffer from a random open file, in
 * a shuffled order of its rows; once the buffer is full, a random slot comes out and the next frame takes its place. Every frame
 * comes out once per epoch. Without shuffling files and rows come one after another and the buffer holds one frame.
 */
export class StreamOrder {
  readonly #rows: readonly number[];
  readonly #options: StreamOrderOptions;
  readonly length: number;
  #random!: Xoshiro128;
  #epoch = -1;
  #waiting: number[] = [];
  #open: { file: number; order: Uint32Array; next: number }[] = [];
  #buffer: StreamedFrame[] = [];

  /** @param rows Number of rows of each file. */
  constructor(rows: readonly number[], options: StreamOrderOptions) {
    for (const [name, value] of [
      ['buffer_size', options.bufferSize],
      ['open_files', options.openFiles],
    ] as const) {
      if (Number.isSafeInteger(value) && value >= 1) continue;
      throw new CraftError('STREAM_OPTION', `${name} must be a whole number from 1 on, not ${value}`);
    }
    if (!Number.isSafeInteger(options.seed))
      throw new CraftError('SAMPLER_SEED', `the stream's seed must be a whole number, not ${options.seed}`);
    this.#rows = rows;
    this.#options = options.shuffle ? options : { ...options, bufferSize: 1, openFiles: 1 };
    this.length = rows.reduce((a, b) => a + b, 0);
  }

  /** Goes to frame `position` of the endless sequence of epochs: whole epochs are skipped, the last one is counted through. */
  seek(position: number): void {
    this.#begin(Math.floor(position / this.length));
    for (let i = position % this.length; i > 0; i--) this.next();
  }

  /** Frames that are in the buffer: what must be read after a `seek`. */
  get buffered(): readonly StreamedFrame[] {
    return this.#buffer;
  }

  /** Whether some frames of a file, but not all, have entered in this epoch. */
  isOpen(file: number): boolean {
    return this.#open.some((source) => source.file === file);
  }

  next(): StreamStep {
    const entered: StreamedFrame[] = [];
    const finished: number[] = [];
    if (this.#epoch === -1 || (this.#buffer.length === 0 && this.#isDrained)) this.#begin(this.#epoch + 1);
    while (this.#buffer.length < this.#options.bufferSize) {
      const frame = this.#take(finished);
      if (frame === undefined) break;
      this.#buffer.push(frame);
      entered.push(frame);
    }
    const slot = this.#options.bufferSize === 1 ? 0 : this.#random.below(this.#buffer.length);
    const frame = this.#buffer[slot]!;
    this.#buffer[slot] = this.#buffer.at(-1)!;
    this.#buffer.pop();
    return { frame, entered, finished };
  }

  get #isDrained(): boolean {
    return this.#open.length === 0 && this.#waiting.length === 0;
  }

  #begin(epoch: number): void {
    this.#epoch = epoch;
    this.#random = new Xoshiro128(this.#options.seed, epoch);
    this.#buffer = [];
    this.#open = [];
    const files = Uint32Array.from(this.#rows.keys());
    if (this.#options.shuffle) shuffle(files, this.#random);
    this.#waiting = [...files].reverse();
    while (this.#open.length < this.#options.openFiles && this.#openNext());
  }

  #openNext(): boolean {
    const file = this.#waiting.pop();
    if (file === undefined) return false;
    const order = Uint32Array.from({ length: this.#rows[file]! }, (_, row) => row);
    if (this.#options.shuffle) shuffle(order, this.#random);
    this.#open.push({ file, order, next: 0 });
    return true;
  }

  #take(finished: number[]): StreamedFrame | undefined {
    if (this.#open.length === 0) return undefined;
    const at = this.#open.length === 1 ? 0 : this.#random.below(this.#open.length);
    const source = this.#open[at]!;
    const frame = { file: source.file, row: source.order[source.next++]! };
    if (source.next === source.order.length) {
      finished.push(source.file);
      this.#open.splice(at, 1);
      this.#openNext();
    }
    return frame;
  }
}
