import type { TabletopTask } from '../../names.js';

/** The current position in a recording of `length` frames, and its playback. */
export class Player {
  readonly fps: number;
  readonly length: number;
  playing = false;
  /** Playback speed; 1 is real time. */
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

  /** Starts over if it has reached the end. */
  play(): void {
    if (this.atEnd) this.#position = 0;
    this.playing = this.length > 1;
  }

  pause(): void {
    this.playing = false;
  }

  /** Shows a frame, or the nearest existing one, and pauses there. */
  seek(frame: number): void {
    this.playing = false;
    this.#position = Math.min(this.length - 1, Math.max(0, Math.round(frame)));
  }

  /** Advances playback; stops at the last frame. */
  advance(seconds: number): void {
    if (!this.playing) return;
    this.#position = Math.min(this.length - 1, this.#position + seconds * this.fps * this.speed);
    if (this.atEnd) this.playing = false;
  }
}

interface Verdict {
  text: string;
  /** Names its colour. */
  kind: 'good' | 'bad' | 'wait';
}

/** The state shown. */
export interface Shown {
  /** The requested task; null if it is unknown. */
  task: TabletopTask | null;
  /** Everything that is done now. */
  achieved: readonly TabletopTask[];
  /** How the episode ended; null if that is unknown. */
  success: boolean | null;
  atEnd: boolean;
  /** Physics is running from here: the episode's own end does not count. */
  live: boolean;
}

/** The status of the task. Names what was done instead: this is where a policy that forgot is caught. */
export function verdict({ task, achieved, success, atEnd, live }: Shown): Verdict {
  if (task !== null && achieved.includes(task)) return { text: 'success', kind: 'good' };
  const others = achieved.join(', ');
  if (live) return { text: others === '' ? 'physics' : `physics; done now: ${others}`, kind: 'wait' };
  if (!atEnd) return { text: 'under way', kind: 'wait' };
  const instead = others === '' ? '' : `; done instead: ${others}`;
  if (success === true) return { text: 'success', kind: 'good' };
  if (success === false) return { text: `failed: time is over${instead}`, kind: 'bad' };
  return { text: `end of the recording${instead}`, kind: 'wait' };
}

/** What keys do. */
const KEYS = { ' ': 'play', ArrowLeft: 'back', ArrowRight: 'forward', Home: 'start', End: 'end' } as const;
type Key = keyof typeof KEYS;
export type KeyAction = (typeof KEYS)[Key];

/**
 * What a key does; null: nothing, or whatever the focused element does with it. Input fields keep these keys for themselves, a button only
 * the space bar.
 */
export function keyAction(key: string, focused: { matches(selector: string): boolean }): KeyAction | null {
  if (!Object.hasOwn(KEYS, key)) return null;
  if (focused.matches(key === ' ' ? 'input, select, button' : 'input, select')) return null;
  return KEYS[key as Key];
}
