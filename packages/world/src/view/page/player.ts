/** Where a recording of `length` frames stands, and how it moves on. */
export class Player {
  readonly fps: number;
  readonly length: number;
  playing = false;
  /** Times as fast as it happened. */
  speed = 1;
  #position = 0;

  /** @param length at least 1 */
  constructor(length: number, fps: number) {
    this.length = length;
    this.fps = fps;
  }

  /** Number of the frame shown. */
  get frame(): number {
    return Math.floor(this.#position);
  }

  get atEnd(): boolean {
    return this.frame === this.length - 1;
  }

  /** Begins anew where it had come to the end. */
  play(): void {
    if (this.atEnd) this.#position = 0;
    this.playing = this.length > 1;
  }

  pause(): void {
    this.playing = false;
  }

  /** Shows a frame, or the nearest that there is, and stops there. */
  seek(frame: number): void {
    this.playing = false;
    this.#position = Math.min(this.length - 1, Math.max(0, Math.round(frame)));
  }

  /** Time goes by; stops at the last frame. */
  advance(seconds: number): void {
    if (!this.playing) return;
    this.#position = Math.min(this.length - 1, this.#position + seconds * this.fps * this.speed);
    if (this.atEnd) this.playing = false;
  }
}
