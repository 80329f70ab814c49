import { existsSync } from 'node:fs';
import { join, relative, resolve, sep } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { datasetCacheFolder } from './environment.js';
import { repoName } from './errors.js';
import { type DownloadProgress, type FetchFilesOptions, fetchFiles } from './fetch-files.js';
import { whileLocked } from './lock.js';
import { DownloadRecord, removeStale } from './record.js';
import { listFolder, localPath, lookUp, resolveRevision } from './remote.js';
import { type HubOptions, type HubSession, openSession } from './session.js';

export interface DownloadDatasetOptions extends HubOptions, DatasetParts {
  /** `user/name`. */
  repoId: string;
  /** Branch, tag or commit. Default: the newest of the tags v3.0, v2.1 and v2.0 that the dataset has, else main. */
  revision?: string;
  /** Folder of the dataset. Default: {@link datasetCacheFolder}, where LeRobot keeps it. */
  root?: string;
  onProgress?: (progress: DownloadProgress) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** The version tags of LeRobot datasets that can be read here, newest first. */
const VERSION_TAGS = ['v3.0', 'v2.1', 'v2.0'];

/**
 * Downloads a dataset from the Hugging Face Hub: `meta/`, and only those data and video files that hold the selected episodes and cameras.
 * Interrupted downloads resume where they stopped. Every file is verified against the Hub's hash before it gets its final name. Files that
 * are already there are not downloaded again, and files that did not come from the Hub are never overwritten. If the Hub cannot be reached
 * and everything needed is there, the local files are used, with a warning. A folder that was not downloaded by this function and has
 * everything needed is used without contacting the Hub, unless `revision` is given.
 *
 * A video missing on the Hub itself only causes a warning: the dataset can be used without that camera.
 *
 * @returns the absolute path of the dataset's folder.
 * @throws CraftError `HUB_NOT_FOUND`, `HUB_TOKEN`, `HUB_REVISION`, `HUB_OFFLINE`, `HUB_UNREACHABLE`, `HUB_CORRUPT`,
 * `HUB_FILE_MISSING`, `HUB_LOCAL_DIFFERS`, `HUB_NOT_A_DATASET`, `HUB_REPO_ID`, `HUB_PATH`, `HUB_REFUSED`, `DISK_FULL`,
 * `WRITE_FAILED`, `DATASET_EPISODES`, `DATASET_KEY`, and as {@link LeRobotDatasetMetadata.load}.
 *
 * @example
 * ```ts
 * const root = await downloadDataset({ repoId: 'lerobot/pusht', episodes: [0, 1], cameras: [] });
 * const dataset = await LeRobotDataset.open({ root, episodes: [0, 1] });
 * ```
 */
export async function downloadDataset(options: DownloadDatasetOptions): Promise<string> {
  const session = openSession(options.repoId, 'dataset', options);
  const root = resolve(options.root ?? datasetCacheFolder(options.repoId));
  const { last } = DownloadRecord.open(root);
  if (last !== undefined && last.repo !== options.repoId) {
    throw new CraftError(
      'HUB_LOCAL_DIFFERS',
      `${root}: holds the dataset ${last.repo}, not ${options.repoId}; name another folder`,
    );
  }
  const asIs = last === undefined && options.revision === undefined;
  if (asIs && (await firstMissing(root, options)) === undefined) return root;
  if (session.offline) {
    await requireLocal(root, options);
    return root;
  }
  try {
    await update(session, root, options);
  } catch (error) {
    if (!(error instanceof CraftError) || error.code !== 'HUB_UNREACHABLE') throw error;
    if (!holdsRevision(root, options.revision) || (await firstMissing(root, options)) !== undefined)
      throw error;
    warner(options)(`${error.message}; ${root} has all that is needed and is used as it is`);
  }
  return root;
}

function warner({ onWarning }: DownloadDatasetOptions): (message: string) => void {
  return onWarning ?? ((message) => console.warn(message));
}

/** The dataset's warnings are shown when it is opened for use. */
function loadQuietly(root: string): Promise<LeRobotDatasetMetadata> {
  return LeRobotDatasetMetadata.load(root, { onWarning: () => {} });
}

async function update(session: HubSession, root: string, options: DownloadDatasetOptions): Promise<void> {
  const { revision, commit } = await resolveRevision(
    session,
    options.revision === undefined ? [...VERSION_TAGS, 'main'] : [options.revision],
  );
  if (await isUpToDate(session, root, commit, options)) return;
  const meta = await listFolder(session, commit, 'meta');
  if (!meta.some((file) => file.path === 'meta/info.json')) {
    throw new CraftError(
      'HUB_NOT_A_DATASET',
      `${repoName(session)}: has no meta/info.json at revision ${revision}; is it a LeRobot dataset of version 2.0 or newer?`,
    );
  }
  const onWarning = warner(options);
  const onWait = (): void => onWarning(`${root}: waiting for another process that downloads into it`);
  await whileLocked(root, onWait, async (signal) => {
    const record = DownloadRecord.open(root);
    const { onProgress = () => {} } = options;
    const context: FetchFilesOptions = { root, commit, record, onProgress, onWarning, signal };
    record.begin({ repo: options.repoId, endpoint: session.hubUrl, revision, commit });
    await fetchFiles(session, meta, context);
    // A leftover table of episodes would be taken for one of this revision.
    removeStale(root, record, meta, 'meta/');
    record.finish(await fetchEpisodes(session, options, context));
  });
}

/** @returns the videos missing from the repository. */
async function fetchEpisodes(
  session: HubSession,
  options: DownloadDatasetOptions,
  context: FetchFilesOptions,
): Promise<string[]> {
  const { root, commit } = context;
  const metadata = await loadQuietly(root);
  const { data, videos } = neededFiles(metadata, options);
  const found = await lookUp(session, commit, [...data, ...videos]);
  const lacking = data.find((path) => !found.has(path));
  if (lacking !== undefined) {
    throw new CraftError(
      'HUB_FILE_MISSING',
      `${repoName(session)}: ${lacking} is not in the repository although ${metadata.episodesSource} names it; choose other episodes`,
    );
  }
  const absent = videos.filter((path) => !found.has(path));
  warnOfAbsent(session, options, absent, videos);
  await fetchFiles(session, [...found.values()], context);
  return absent;
}

function warnOfAbsent(
  session: HubSession,
  options: DownloadDatasetOptions,
  absent: readonly string[],
  videos: readonly string[],
): void {
  if (absent.length === 0) return;
  const count = `${absent.length} of ${videos.length} videos`;
  warner(options)(`${repoName(session)}: ${count} are not in the repository, such as ${absent[0]}`);
}

/**
 * Whether everything needed was downloaded at this commit and is unmodified since. Then the Hub is not contacted and nothing is written:
 * the folder may be on a read-only disk.
 */
async function isUpToDate(
  session: HubSession,
  root: string,
  commit: string,
  options: DownloadDatasetOptions,
): Promise<boolean> {
  const record = DownloadRecord.open(root);
  if (!record.last?.complete || record.last.commit !== commit) return false;
  const isCurrent = (path: string): boolean =>
    record.files[path]?.commit === commit && record.isUntouched(path, localPath(root, path));
  if (!Object.keys(record.files).every((path) => !path.startsWith('meta/') || isCurrent(path))) return false;
  const { data, videos } = neededFiles(await loadQuietly(root), options);
  if (![...data, ...videos].every((path) => isCurrent(path) || record.isAbsent(path))) return false;
  warnOfAbsent(
    session,
    options,
    videos.filter((path) => record.isAbsent(path)),
    videos,
  );
  return true;
}

/** Whether the folder is at the requested revision, as far as is known. */
function holdsRevision(root: string, revision: string | undefined): boolean {
  const { last } = DownloadRecord.open(root);
  return revision === undefined || last?.revision === revision || last?.commit === revision;
}

async function requireLocal(root: string, options: DownloadDatasetOptions): Promise<void> {
  const remedy = 'and the network is not to be used; unset HF_HUB_OFFLINE to download it';
  const missing = await firstMissing(root, options);
  if (missing !== undefined) throw new CraftError('HUB_OFFLINE', `${missing}: is not there, ${remedy}`);
  if (holdsRevision(root, options.revision)) return;
  const held = DownloadRecord.open(root).last?.revision;
  if (held !== undefined) {
    throw new CraftError('HUB_OFFLINE', `${root}: is ${held}, not ${options.revision}, ${remedy}`);
  }
  warner(options)(
    `${root}: was not downloaded by this program; its revision cannot be compared with ${options.revision}`,
  );
}

/** The first needed file that is missing from the folder or belongs to an older commit; undefined if there is none. */
async function firstMissing(root: string, options: DownloadDatasetOptions): Promise<string | undefined> {
  const info = join(root, 'meta', 'info.json');
  if (!existsSync(info)) return info;
  const record = DownloadRecord.open(root);
  const isOld = (path: string): boolean => {
    const known = record.files[path];
    return known !== undefined && known.commit !== record.last?.commit;
  };
  const old = Object.keys(record.files).find((path) => path.startsWith('meta/') && isOld(path));
  if (old !== undefined) return localPath(root, old);
  let metadata: LeRobotDatasetMetadata;
  try {
    metadata = await loadQuietly(root);
  } catch (error) {
    if (!(error instanceof CraftError) || error.code !== 'DATASET_FILE_MISSING') throw error;
    return error.message.split(': ')[0]!;
  }
  const { data, videos } = neededFiles(metadata, options);
  // Videos missing on the Hub itself are no reason to contact it again.
  const paths = [...data, ...videos].filter((path) => !record.isAbsent(path));
  const missing = paths.find((path) => !existsSync(localPath(root, path)) || isOld(path));
  return missing === undefined ? undefined : localPath(root, missing);
}

/** Which parts of a dataset to download. */
interface DatasetParts {
  /** Indices of the episodes. Default: all. */
  episodes?: readonly number[];
  /** Episodes to exclude from those. Default: none. */
  excludeEpisodes?: readonly number[];
  /** Video features, by their full names. Default: all; `[]` for training without cameras. */
  cameras?: readonly string[];
}

/** Paths within the dataset, with `/`, without duplicates. */
interface NeededFiles {
  readonly data: readonly string[];
  readonly videos: readonly string[];
}

/**
 * The data and video files that hold the chosen episodes.
 *
 * @throws CraftError `DATASET_EPISODES`, `DATASET_KEY` for a camera that the dataset does not have, `DATASET_PATH_INVALID`
 */
export function neededFiles(metadata: LeRobotDatasetMetadata, parts: DatasetParts): NeededFiles {
  const { cameras, excludeEpisodes = [] } = parts;
  const images = Object.entries(metadata.features).filter(([, { dtype }]) => /^(video|image)$/.test(dtype));
  const unknown = cameras?.find((camera) => !images.some(([key]) => key === camera));
  if (unknown !== undefined) {
    const known = images.map(([key]) => key).join(', ') || 'none';
    throw new CraftError('DATASET_KEY', `${metadata.root}: no camera "${unknown}"; the dataset has ${known}`);
  }
  const data = new Set<string>();
  const videos = new Set<string>();
  const inside = (path: string): string => relative(metadata.root, path).split(sep).join('/');
  for (const episode of metadata.choose(parts.episodes)) {
    if (excludeEpisodes.includes(episode.episodeIndex)) continue;
    data.add(inside(metadata.dataPath(episode)));
    if (metadata.info.videoPath === null) continue;
    for (const key of Object.keys(episode.videos)) {
      if (cameras === undefined || cameras.includes(key)) {
        videos.add(inside(metadata.videoPath(episode, key)));
      }
    }
  }
  return { data: [...data], videos: [...videos] };
}
