import {
  FrameSampler,
  GroupSampler,
  memberSeed,
  type SamplerGroup,
  shuffle,
  Xoshiro128,
} from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch/errors';

/** What is known about each row of an anchor source, column by column. */
export interface RowTable {
  readonly length: number;
  /** Number of the episode among all of the source, −1 where it is not known. */
  readonly episode: Int32Array;
  /** Index into `tasks`. */
  readonly task: Int32Array;
  /** Position of the dataset in the source. */
  readonly dataset: Int32Array;
  readonly tasks: readonly string[];
}

/** How much of a source is used; everything by default. */
export interface RowSelection {
  numEpisodes?: number | null;
  episodeFraction?: number | null;
  numFrames?: number | null;
  fraction?: number | null;
}

/**
 * The rows that are used: first whole episodes, then frames of these, both drawn with the seed and spread evenly over the tasks; what a
 * task lacks is taken from the others.
 *
 * @returns ascending rows
 * @throws CraftError `ANCHOR_EPISODES_UNKNOWN` where episodes are asked for and the source does not know them
 */
export function selectRows(table: RowTable, selection: RowSelection, seed: number): Uint32Array {
  let rows = Array.from({ length: table.length }, (_, row) => row);
  const { numEpisodes = null, episodeFraction = null, numFrames = null, fraction = null } = selection;
  if (numEpisodes !== null || episodeFraction !== null) {
    const firsts = firstRows(table, rows);
    const count = numEpisodes ?? share(episodeFraction!, firsts.size);
    const byTask = groupBy([...firsts], ([, row]) => table.task[row]!);
    const chosen = new Set(spread([...byTask.values()], count, seed).map(([episode]) => episode));
    rows = rows.filter((row) => chosen.has(table.episode[row]!));
  }
  if (numFrames !== null || fraction !== null) {
    const count = numFrames ?? share(fraction!, rows.length);
    const byTask = groupBy(rows, (row) => table.task[row]!);
    rows = spread([...byTask.values()], count, seed + 1).sort((a, b) => a - b);
  }
  return Uint32Array.from(rows);
}

function share(fraction: number, total: number): number {
  return Math.max(1, Math.round(fraction * total));
}

function firstRows(table: RowTable, rows: readonly number[]): Map<number, number> {
  const firsts = new Map<number, number>();
  for (const row of rows) {
    const episode = table.episode[row]!;
    if (episode < 0)
      throw new CraftError(
        'ANCHOR_EPISODES_UNKNOWN',
        'this anchor cache does not know the episodes of its samples; choose by craft.anchor_num_frames or anchor_fraction',
      );
    if (!firsts.has(episode)) firsts.set(episode, row);
  }
  return firsts;
}

/** Items by a key, keys in ascending order. */
export function groupBy<T>(items: readonly T[], key: (item: T) => number): Map<number, T[]> {
  const groups = new Map<number, T[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group === undefined) groups.set(key(item), [item]);
    else group.push(item);
  }
  return new Map([...groups].sort(([a], [b]) => a - b));
}

/** `count` items, as evenly over the groups as they allow, each group's in an order drawn by the seed. */
export function spread<T>(groups: readonly (readonly T[])[], count: number, seed: number): T[] {
  const orders = groups.map((group, i) => {
    const order = Uint32Array.from(group, (_, at) => at);
    shuffle(order, new Xoshiro128(seed, i));
    return order;
  });
  const chosen: T[] = [];
  const longest = Math.max(0, ...orders.map((order) => order.length));
  for (let round = 0; round < longest; round++) {
    for (const [i, order] of orders.entries()) {
      if (chosen.length === count) return chosen;
      if (round < order.length) chosen.push(groups[i]![order[round]!]!);
    }
  }
  return chosen;
}

/** How rows are drawn: uniformly, balanced over tasks, or by dataset weight. */
export interface Drawing {
  balanceTasks?: boolean;
  /** By dataset of the table; default: all frames alike. */
  weights?: readonly number[] | null;
}

/**
 * The sampler of some rows of a source: every batch is a function of the seed and its number alone, and no row is dropped.
 *
 * @throws CraftError `SAMPLER_EMPTY` where a dataset that has a weight has no row left
 */
export function rowSampler(table: RowTable, rows: Uint32Array, drawing: Drawing, seed: number): FrameSampler {
  const { balanceTasks = false, weights = null } = drawing;
  if (!balanceTasks && weights === null) return new FrameSampler(rows, seed, true);
  const key = balanceTasks ? table.task : table.dataset;
  const groups = groupBy([...rows], (row) => key[row]!);
  const parts = balanceTasks ? [...groups.keys()].map(() => 1) : weights!;
  const sum = parts.reduce((a, b) => a + b, 0);
  return new GroupSampler(
    rows,
    parts.map((part, i): SamplerGroup => {
      const [id, members] = balanceTasks ? [...groups][i]! : [i, groups.get(i) ?? []];
      return { rows: Uint32Array.from(members), share: part / sum, seed: memberSeed(seed, `group ${id}`) };
    }),
    seed,
  );
}
