import { isAbsolute, resolve } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { formatPath, type OnWarning } from './dataset-files.js';
import { type DatasetInfo, type FeatureInfo, loadInfo } from './dataset-info.js';
import { type EpisodeRecord, type LoadedMetadata, loadV2, loadV3 } from './metadata-formats.js';
import { aggregateStats, type DatasetStats } from './stats.js';

interface MetadataOptions {
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: OnWarning;
}

/**
 * A dataset's `meta/` folder, LeRobot v2.0, v2.1 or v3.0: info, tasks, episodes, statistics. Reads no frames.
 *
 * @example
 * ```ts
 * const metadata = await LeRobotDatasetMetadata.load('data/so101_orange_cube_v3');
 * metadata.fps; // 30
 * metadata.features.action.shape; // [6]
 * ```
 */
export class LeRobotDatasetMetadata {
  /** Absolute path of the dataset's folder. */
  readonly root: string;
  readonly info: DatasetInfo;
  /** Text by task index. */
  readonly tasks: ReadonlyMap<number, string>;
  /** All episodes, sorted by index, whether their files are present or not. */
  readonly episodes: readonly EpisodeRecord[];
  readonly #loaded: LoadedMetadata;
  readonly #warn: OnWarning;
  readonly #byIndex: ReadonlyMap<number, EpisodeRecord>;

  private constructor(root: string, info: DatasetInfo, loaded: LoadedMetadata, warn: OnWarning) {
    this.root = root;
    this.info = info;
    this.tasks = loaded.tasks;
    this.episodes = loaded.episodes;
    this.#loaded = loaded;
    this.#warn = warn;
    this.#byIndex = new Map(loaded.episodes.map((episode) => [episode.episodeIndex, episode]));
  }

  /**
   * @param root The dataset's folder.
   * @throws CraftError `DATASET_INFO_MISSING`, `DATASET_INFO_INVALID`, `DATASET_VERSION`, `DATASET_FILE_MISSING`,
   * `DATASET_FILE_INVALID`, `DATASET_COLUMN_MISSING`, `DATASET_EPISODES`: each names the file and what to do.
   */
  static async load(root: string, options: MetadataOptions = {}): Promise<LeRobotDatasetMetadata> {
    const folder = isAbsolute(root) ? root : resolve(root);
    const warn = options.onWarning ?? ((message) => console.warn(message));
    const info = loadInfo(folder, warn);
    const loaded = info.version === '3.0' ? await loadV3(folder, info, warn) : loadV2(folder, info, warn);
    const frames = loaded.episodes.reduce((sum, episode) => sum + episode.length, 0);
    if (loaded.episodes.length !== info.totalEpisodes || frames !== info.totalFrames) {
      warn(
        `${folder}/meta/info.json: says ${info.totalEpisodes} episodes and ${info.totalFrames} frames, ` +
          `${loaded.episodesSource} lists ${loaded.episodes.length} and ${frames}; the list is used`,
      );
    }
    return new LeRobotDatasetMetadata(folder, info, loaded, warn);
  }

  get version(): DatasetInfo['version'] {
    return this.info.version;
  }

  /** Frames per second. */
  get fps(): number {
    return this.info.fps;
  }

  get robotType(): string | null {
    return this.info.robotType;
  }

  get features(): Readonly<Record<string, FeatureInfo>> {
    return this.info.features;
  }

  /** Name of the file that lists the episodes, for messages. */
  get episodesSource(): string {
    return this.#loaded.episodesSource;
  }

  /** @throws CraftError `DATASET_EPISODES` when the dataset has no such episode. */
  episode(episodeIndex: number): EpisodeRecord {
    const episode = this.#byIndex.get(episodeIndex);
    if (episode !== undefined) return episode;
    const known =
      this.episodes.length === 0
        ? 'none'
        : `${this.episodes[0]!.episodeIndex} to ${this.episodes.at(-1)!.episodeIndex}`;
    throw new CraftError(
      'DATASET_EPISODES',
      `${this.root}: there is no episode ${episodeIndex}; ${this.#loaded.episodesSource} lists ${known}`,
    );
  }

  /**
   * The given episodes, sorted; all of them if undefined.
   *
   * @throws CraftError `DATASET_EPISODES` when the list is empty, has a duplicate, or names an episode that does not exist.
   */
  choose(episodes?: readonly number[]): EpisodeRecord[] {
    const chosen = episodes?.map((index) => this.episode(index)) ?? [...this.episodes];
    chosen.sort((a, b) => a.episodeIndex - b.episodeIndex);
    const twice = chosen.find((episode, i) => episode === chosen[i - 1]);
    if (twice !== undefined) {
      throw new CraftError('DATASET_EPISODES', `${this.root}: episode ${twice.episodeIndex} is chosen twice`);
    }
    if (chosen.length === 0) throw new CraftError('DATASET_EPISODES', `${this.root}: no episodes to load`);
    return chosen;
  }

  /** The Parquet file that holds an episode's frames. Throws CraftError `DATASET_PATH_INVALID`. */
  dataPath(episode: EpisodeRecord): string {
    return formatPath(this.root, this.info.dataPath, {
      chunk_index: episode.dataChunk,
      file_index: episode.dataFile,
      episode_chunk: episode.dataChunk,
      episode_index: episode.episodeIndex,
    });
  }

  /** The video file that holds an episode's frames of one camera. Throws CraftError `DATASET_PATH_INVALID`, `DATASET_KEY`. */
  videoPath(episode: EpisodeRecord, videoKey: string): string {
    const segment = episode.videos[videoKey];
    if (segment === undefined || this.info.videoPath === null) {
      throw new CraftError(
        'DATASET_KEY',
        `${this.root}: episode ${episode.episodeIndex} has no video "${videoKey}"`,
      );
    }
    return formatPath(this.root, this.info.videoPath, {
      video_key: videoKey,
      chunk_index: segment.chunkIndex,
      file_index: segment.fileIndex,
      episode_chunk: episode.dataChunk,
      episode_index: episode.episodeIndex,
    });
  }

  /**
   * Statistics over the chosen episodes (all if undefined). Over all episodes, v2.0 and v3.0 use meta/stats.json; otherwise the
   * per-episode statistics are aggregated. A dataset without per-episode statistics falls back to stats.json, and one without any
   * gives `{}`, each with one warning.
   *
   * @throws CraftError `DATASET_STATS`, `DATASET_EPISODES`.
   */
  async stats(episodes?: readonly number[]): Promise<DatasetStats> {
    const chosen = this.choose(episodes).map((episode) => episode.episodeIndex);
    const subset = chosen.length < this.episodes.length;
    const total = subset ? undefined : this.#loaded.total();
    if (total !== undefined) return total;
    const sets = await this.#loaded.perEpisode(chosen);
    if (sets !== undefined) return aggregateStats(sets, `${this.root}/meta`, this.#warn);
    const fallback = this.#loaded.total();
    if (fallback === undefined) {
      this.#warn(`${this.root}/meta: the dataset has no statistics; features cannot be normalised`);
      return {};
    }
    this.#warn(
      `${this.root}/meta: no statistics per episode; those of the whole dataset (stats.json) are used for ` +
        `${chosen.length} of ${this.episodes.length} episodes`,
    );
    return fallback;
  }
}
