import { existsSync } from 'node:fs';
import { isAbsolute, join } from 'node:path';
import {
  type Batch,
  downloadedCommit,
  type LeRobotDataset,
  looksLikeRepoId,
  MultiDataset,
  type SubsetIndex,
} from '@craft-ft/datasets';
import type { PolicyConfig } from '@craft-ft/policies';
import { CraftError } from '@craft-ft/torch/errors';
import {
  cameraSizes,
  type DatasetChoice,
  datasetFolder,
  fetchDataset,
  openPolicyDataset,
} from '@craft-ft/training';
import type { RowTable } from './rows.js';

/** One dataset of anchors and how often it is drawn from. */
export interface AnchorDataset {
  choice: DatasetChoice;
  /** Relative to the other datasets. Default: as many frames as it has. */
  weight?: number;
}

/** How datasets are read. */
export interface AnchorReading {
  renameMap?: Readonly<Record<string, string>>;
  /** Default 1e-4 s. */
  toleranceS?: number;
  onInfo?: (line: string) => void;
  onWarning?: (line: string) => void;
}

/** Datasets of anchors, opened for a policy; their rows follow each other. */
export interface AnchorSource {
  /** In the order of `table.dataset`. */
  readonly members: readonly LeRobotDataset[];
  readonly choices: readonly DatasetChoice[];
  /** Commits on the Hub, where they are known. */
  readonly revisions: readonly (string | null)[];
  readonly weights: readonly number[] | null;
  readonly table: RowTable;
  batch(rows: readonly SubsetIndex[]): Batch;
  /** Episode and frame within its dataset of a row. */
  place(row: number): { dataset: number; episode: number; frame: number };
  /** The row of a frame; the inverse of `place`. @throws CraftError `ANCHOR_FRAME` where it is not there */
  row(dataset: number, episode: number, frame: number): number;
}

/**
 * A dataset by the name a user gives it: a folder, or `user/name`.
 *
 * @param method the group of flags that the name was given in, for the message
 * @throws CraftError `ANCHORS_MISSING` where it can be neither
 */
export function anchorChoice(
  path: string,
  root: string | null,
  episodes: readonly number[] | null,
  method = 'craft',
): DatasetChoice {
  const folder = root ?? localFolder(path);
  if (folder === null && !looksLikeRepoId(path)) {
    throw new CraftError(
      'ANCHORS_MISSING',
      `${method}.anchor_dataset_path=${path}: neither a dataset's folder nor a name like user/name`,
    );
  }
  return {
    repo_id: path,
    root: folder,
    episodes: episodes === null ? null : [...episodes],
    exclude_episodes: null,
  };
}

// `user/name` is looked up among the downloaded datasets; anything that is a folder is taken as it is.
function localFolder(path: string): string | null {
  return existsSync(join(path, 'meta')) || isAbsolute(path) || path.startsWith('.') ? path : null;
}

/**
 * Opens datasets with the windows and keys a policy needs, downloading those without a folder.
 *
 * @throws CraftError as `openPolicyDataset`, `fetchDataset`, `MultiDataset`
 */
export async function openAnchorSource(
  datasets: readonly AnchorDataset[],
  policy: PolicyConfig,
  reading: AnchorReading = {},
): Promise<AnchorSource> {
  const { renameMap = {}, toleranceS = 1e-4, onInfo = () => {}, onWarning = console.warn } = reading;
  const cameras = [...cameraSizes(policy.input_features).keys()];
  const renamed = Object.keys(renameMap).length > 0;
  const opened: { dataset: LeRobotDataset; weight?: number; choice: DatasetChoice }[] = [];
  for (const { choice, weight } of datasets) {
    await fetchDataset(choice, renamed ? undefined : cameras, onInfo, onWarning);
    const dataset = await openPolicyDataset({ choice, policy, renameMap, toleranceS, renameRequired: false });
    opened.push({ dataset, weight, choice });
  }
  if (opened.length === 1) {
    const [{ dataset, choice }] = opened as [(typeof opened)[0]];
    return describe([dataset], [choice], null, [0], (rows) => dataset.batch(rows));
  }
  const mixture = new MultiDataset(opened, onWarning);
  const choices = mixture.members.map((member) => opened.find(({ dataset }) => dataset === member)!.choice);
  const weights = opened.every(({ weight }) => weight === undefined) ? null : mixture.weights;
  return describe(mixture.members, choices, weights, mixture.starts, (rows) => mixture.batch(rows));
}

function describe(
  members: readonly LeRobotDataset[],
  choices: readonly DatasetChoice[],
  weights: readonly number[] | null,
  starts: readonly number[],
  batch: AnchorSource['batch'],
): AnchorSource {
  const length = members.reduce((sum, member) => sum + member.length, 0);
  const spans = members.flatMap((member, dataset) =>
    member.episodes.map((span) => ({
      dataset,
      start: starts[dataset]! + span.start,
      end: starts[dataset]! + span.end,
      episode: span.episodeIndex,
    })),
  );
  const columns = { episode: new Int32Array(length), dataset: new Int32Array(length) };
  spans.forEach(({ dataset, start, end }, i) => {
    columns.episode.fill(i, start, end);
    columns.dataset.fill(dataset, start, end);
  });
  return {
    members,
    choices,
    revisions: choices.map((choice) => choice.revision ?? downloadedCommit(datasetFolder(choice))),
    weights,
    table: { length, ...columns, ...taskColumn(members, starts, length) },
    batch,
    place: (row) => {
      const { dataset, episode, start } = spans[columns.episode[row]!]!;
      return { dataset, episode, frame: row - start };
    },
    row: (dataset, episode, frame) => {
      const span = spans.find((other) => other.dataset === dataset && other.episode === episode);
      if (span !== undefined && frame < span.end - span.start) return span.start + frame;
      const name = choices[dataset]?.repo_id ?? `dataset ${dataset}`;
      throw new CraftError(
        'ANCHOR_FRAME',
        `${name}: frame ${frame} of episode ${episode} is not there; was the dataset changed since the build began?`,
      );
    },
  };
}

// Instructions of all datasets as one list; equal ones are one task.
function taskColumn(
  members: readonly LeRobotDataset[],
  starts: readonly number[],
  length: number,
): { tasks: string[]; task: Int32Array } {
  const tasks = [...new Set(members.flatMap(({ metadata }) => [...metadata.tasks.values()]))].sort();
  const task = new Int32Array(length);
  members.forEach((member, i) => {
    const index = new Map([...member.metadata.tasks].map(([own, text]) => [own, tasks.indexOf(text)]));
    const { data } = member.columns.get('task_index')!;
    for (let row = 0; row < member.length; row++) task[starts[i]! + row] = index.get(Number(data[row]))!;
  });
  return { tasks, task };
}
