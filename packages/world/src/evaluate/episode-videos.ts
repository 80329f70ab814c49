import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { VideoEncoder, type VideoEncoding } from '@craft-ft/lerobot';
import type { VectorEnvironment } from '../vector-environment.js';

export interface VideoOptions {
  /** Folder for `<task>/eval_episode_<n>.mp4`, LeRobot's names. */
  folder: string;
  /** Numbers of the episodes to film, or how many from the first. */
  episodes: number | readonly number[];
  /** Height and width, even. Default [240, 320]. */
  size?: readonly [number, number];
  /** Default H.264, which every browser plays, a key frame every 25 frames. */
  encoding?: VideoEncoding;
}

/** Films chosen episodes of a task. */
export class EpisodeVideos {
  readonly #folder: string;
  readonly #options: VideoOptions;
  readonly #fps: number;
  readonly #encoders = new Map<number, VideoEncoder>();

  constructor(options: VideoOptions, task: string, fps: number) {
    this.#options = options;
    this.#folder = join(options.folder, task);
    this.#fps = fps;
  }

  /** Where an episode's video goes; null where it is not filmed. */
  path(episode: number): string | null {
    const { episodes } = this.#options;
    const wanted = typeof episodes === 'number' ? episode < episodes : episodes.includes(episode);
    return wanted ? join(this.#folder, `eval_episode_${episode}.mp4`) : null;
  }

  /** Adds a picture of each of the given environments; `first` is the episode of environment 0. */
  async film(environments: VectorEnvironment, slots: readonly number[], first: number): Promise<void> {
    const [height, width] = this.#options.size ?? [240, 320];
    const pictures = await environments.render(slots, width, height);
    slots.forEach((slot, i) => {
      this.#encoder(first + slot, width, height).add(pictures[i]!);
    });
  }

  async finish(episode: number): Promise<void> {
    await this.#encoders.get(episode)?.finish();
    this.#encoders.delete(episode);
  }

  /** Drops what is not finished. */
  abort(): void {
    for (const encoder of this.#encoders.values()) encoder.abort();
    this.#encoders.clear();
  }

  #encoder(episode: number, width: number, height: number): VideoEncoder {
    const known = this.#encoders.get(episode);
    if (known !== undefined) return known;
    mkdirSync(this.#folder, { recursive: true });
    const encoding = this.#options.encoding ?? { codec: 'h264', g: 25, crf: 23 };
    const made = VideoEncoder.create(this.path(episode)!, { width, height, fps: this.#fps, ...encoding });
    this.#encoders.set(episode, made);
    return made;
  }
}
