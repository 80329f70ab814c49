import { join } from 'node:path';
import { VideoEncoder, type VideoEncoding } from '@craft-ft/datasets';
import { makeFolder, StagedFile } from '@craft-ft/torch';
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

/** A video on its way: what an earlier evaluation left under its name stays until it is complete. */
interface Film {
  encoder: VideoEncoder;
  file: StagedFile;
}

/** Films chosen episodes of a task. */
export class EpisodeVideos {
  readonly #folder: string;
  readonly #options: VideoOptions;
  readonly #fps: number;
  readonly #films = new Map<number, Film>();

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
      this.#film(first + slot, width, height).encoder.add(pictures[i]!);
    });
  }

  async finish(episode: number): Promise<void> {
    const film = this.#films.get(episode);
    if (film === undefined) return;
    await film.encoder.finish();
    film.file.flush().commit();
    this.#films.delete(episode);
  }

  /** Drops what is not finished. */
  abort(): void {
    for (const { encoder, file } of this.#films.values()) {
      encoder.abort();
      file.discard();
    }
    this.#films.clear();
  }

  #film(episode: number, width: number, height: number): Film {
    const known = this.#films.get(episode);
    if (known !== undefined) return known;
    makeFolder(this.#folder);
    const encoding = this.#options.encoding ?? { codec: 'h264', g: 25, crf: 23 };
    const file = new StagedFile(this.path(episode)!);
    const encoder = VideoEncoder.create(file.temporary, { width, height, fps: this.#fps, ...encoding });
    const made = { encoder, file };
    this.#films.set(episode, made);
    return made;
  }
}
