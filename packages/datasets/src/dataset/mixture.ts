import { createHash } from 'node:crypto';
import { CraftError } from '@craft-ft/torch';
import { type Batch, collate, type Pick } from './batch.js';
import type { LeRobotDataset } from './dataset.js';
import { type DatasetFeature, isBookkeeping } from './dataset-info.js';
import { type SubsetIndex, subsetIndex } from './indices.js';
import { EpisodeAwareSampler, GroupSampler } from './samplers.js';
import { aggregateStats, type DatasetStats } from './stats.js';

/** A dataset of a mixture and how often its frames are drawn. */
export interface MixtureMember {
  readonly dataset: LeRobotDataset;
  /**
   * Share of the frames drawn, relative to the other members' weights; greater than 0. Give it for all members or for none: by
   * default each member's weight is its number of frames, as if the datasets were one.
   */
  readonly weight?: number;
}

/**
 * Several datasets as one, for joint training and replay. The members' rows follow each other in the order of their repoIds, so
 * that the order in which the members are given does not matter.
 *
 * A batch has the members' columns and `dataset_index` (int64, [B]: the position in {@link names}). `task_index` indexes
 * {@link tasks}, the members' tasks in one list; `episode_index` and `index` are those of the member.
 */
export class MultiDataset {
  /** Sorted by repoId. */
  readonly members: readonly LeRobotDataset[];
  /** The members' repoIds, sorted. */
  readonly names: readonly string[];
  /** Share of each member; they add up to 1. */
  readonly weights: readonly number[];
  /** Frames of all members. */
  readonly length: number;
  /** First row of each member. */
  readonly starts: readonly number[];
  /** Features every member has, by policy key. */
  readonly features: Readonly<Record<string, DatasetFeature>>;
  /** Statistics over the frames of all members, as LeRobot aggregates them: by frames, whatever the weights. */
  readonly stats: Readonly<DatasetStats>;
  /** Instructions of all members, without repeats. */
  readonly tasks: readonly string[];

  /**
   * @throws CraftError `MIXTURE_EMPTY`, `MIXTURE_WEIGHT`, `MIXTURE_NAME` (two members of one repoId), `MIXTURE_FPS`,
   * `MIXTURE_FEATURE` naming the dataset and the key that differ.
   */
  constructor(members: readonly MixtureMember[], onWarning: (message: string) => void = console.warn) {
    if (members.length === 0) throw new CraftError('MIXTURE_EMPTY', 'a mixture needs at least one dataset');
    const sorted = [...members].sort((a, b) => (a.dataset.repoId < b.dataset.repoId ? -1 : 1));
    this.members = sorted.map(({ dataset }) => dataset);
    this.names = this.members.map(({ repoId }) => repoId);
    this.weights = shares(sorted);
    const [first, ...others] = this.members as [LeRobotDataset, ...LeRobotDataset[]];
    others.forEach((other, i) => {
      if (other.repoId === this.names[i])
        throw new CraftError(
          'MIXTURE_NAME',
          `${other.repoId}: is in the mixture twice; give it a higher weight instead`,
        );
      checkSame(first, other);
    });
    let length = 0;
    this.starts = this.members.map((member) => {
      length += member.length;
      return length - member.length;
    });
    this.length = length;
    this.features = Object.fromEntries(
      Object.entries(first.features).filter(([key]) =>
        others.every(({ features }) => features[key] !== undefined),
      ),
    );
    this.stats = aggregateStats(
      this.members.map(({ stats }) => stats),
      `mixture of ${this.names.join(', ')}`,
      onWarning,
    );
    this.tasks = [
      ...new Set(
        this.members.flatMap(({ metadata: { tasks } }) => (tasks.size === 0 ? [''] : [...tasks.values()])),
      ),
    ].sort();
  }

  /** Frames per second, of every member. */
  get fps(): number {
    return this.members[0]!.fps;
  }

  /** Converts a row of a member to a row of the mixture. */
  row(member: number, own: SubsetIndex): SubsetIndex {
    return subsetIndex(this.starts[member]! + own);
  }

  /**
   * Assembles frames, as {@link LeRobotDataset.batch}.
   *
   * @throws CraftError `DATASET_INDEX` when a row is out of range.
   */
  batch(rows: readonly SubsetIndex[]): Batch {
    const own: SubsetIndex[][] = this.members.map(() => []);
    const picks = rows.map((row): Pick => {
      const member = this.#memberOf(row);
      own[member]!.push(subsetIndex(row - this.starts[member]!));
      return { part: member, row: own[member]!.length - 1 };
    });
    const parts = this.members.map((member, i) => member.batch(own[i]!));
    const { columns, tasks } = collate(parts, picks);
    const shape = [rows.length];
    const int64 = (data: BigInt64Array) => ({ data, shape, dtype: 'int64' as const });
    columns.task_index = int64(BigInt64Array.from(tasks, (task) => BigInt(this.tasks.indexOf(task))));
    columns.dataset_index = int64(BigInt64Array.from(picks, ({ part }) => BigInt(part)));
    return { columns, tasks };
  }

  #memberOf(row: number): number {
    if (!Number.isInteger(row) || row < 0 || row >= this.length)
      throw new CraftError('DATASET_INDEX', `row ${row} is outside the ${this.length} frames of the mixture`);
    let member = this.starts.length - 1;
    while (this.starts[member]! > row) member--;
    return member;
  }
}

function shares(members: readonly MixtureMember[]): number[] {
  const given = members.filter(({ weight }) => weight !== undefined).length;
  if (given !== 0 && given !== members.length) {
    const without = members.find(({ weight }) => weight === undefined)!.dataset.repoId;
    throw new CraftError(
      'MIXTURE_WEIGHT',
      `${without}: has no weight; give one to every dataset of the mixture or to none`,
    );
  }
  const weights = members.map(({ dataset, weight }) => weight ?? dataset.length);
  weights.forEach((weight, i) => {
    if (Number.isFinite(weight) && weight > 0) return;
    const name = members[i]!.dataset.repoId;
    throw new CraftError('MIXTURE_WEIGHT', `${name}: weight must be a number greater than 0, not ${weight}`);
  });
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

/** Same rate and same loaded columns: key, dtype, shape, window. */
function checkSame(first: LeRobotDataset, other: LeRobotDataset): void {
  if (other.fps !== first.fps) {
    throw new CraftError(
      'MIXTURE_FPS',
      `${other.repoId}: has ${other.fps} fps, ${first.repoId} has ${first.fps}; only datasets of one rate are mixed`,
    );
  }
  const differ = (key: string, what: string): CraftError =>
    new CraftError(
      'MIXTURE_FEATURE',
      `${other.repoId}: "${key}" ${what}; load only shared keys, or bring the names together with rename_map`,
    );
  for (const key of new Set([...first.columns.keys(), ...other.columns.keys()])) {
    const [a, b] = [first.columns.get(key), other.columns.get(key)];
    if (a === undefined) throw differ(key, `is loaded, ${first.repoId} has no such column`);
    if (b === undefined) throw differ(key, `is missing, ${first.repoId} has it`);
    const describe = ({ dtype, shape }: typeof a): string => `${dtype} [${shape.join(', ')}]`;
    // Some datasets write the scalar columns of LeRobot itself as [], others as [1].
    if (!isBookkeeping(key) && describe(a) !== describe(b))
      throw differ(key, `is ${describe(b)}, in ${first.repoId} it is ${describe(a)}`);
    const window = (dataset: LeRobotDataset): string => (dataset.deltaOffsets.get(key) ?? []).join(', ');
    if (window(first) !== window(other))
      throw differ(key, `has the window [${window(other)}], in ${first.repoId} it is [${window(first)}]`);
  }
}

export { apportion } from './samplers.js';

/** Options of {@link MixtureSampler}. */
export interface MixtureSamplerOptions {
  /** Any whole number. */
  seed: number;
  /** Frames left out at each episode's end. Default 0. */
  drop_n_last_frames?: number;
}

/**
 * The order in which a mixture's frames are drawn, a pure function of (seed, members): a run resumes from its step number alone,
 * and the order in which the members are given does not matter. Shares are the members' weights; see {@link GroupSampler}.
 */
export class MixtureSampler extends GroupSampler {
  constructor(mixture: MultiDataset, { seed, drop_n_last_frames }: MixtureSamplerOptions) {
    const rows = Uint32Array.from({ length: mixture.length }, (_, row) => row);
    const groups = mixture.members.map((member, i) => {
      const own = new EpisodeAwareSampler(member, { seed, drop_n_last_frames }).epochOrder(0);
      return {
        rows: own.map((row) => mixture.starts[i]! + row),
        share: mixture.weights[i]!,
        seed: memberSeed(seed, mixture.names[i]!),
      };
    });
    super(rows, groups, seed);
  }
}

/** A seed for each member that does not depend on the other members. */
export function memberSeed(seed: number, name: string): number {
  return createHash('sha256').update(`${seed}/${name}`).digest().readUIntBE(0, 6);
}
