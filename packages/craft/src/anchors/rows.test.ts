import fc from 'fast-check';
import { expect, test } from 'vitest';
import { thrown } from '../../../datasets/test/thrown.js';
import { type RowTable, rowSampler, selectRows } from './rows.js';

/** A table of episodes, each `[length, task]`. */
function tableOf(
  episodes: readonly (readonly [number, number])[],
  datasets: readonly number[] = [],
): RowTable {
  const rows = episodes.flatMap(([length, task], episode) =>
    Array.from({ length }, () => ({ episode, task, dataset: datasets[episode] ?? 0 })),
  );
  const tasks = Array.from(
    { length: 1 + Math.max(0, ...rows.map(({ task }) => task)) },
    (_, i) => `task ${i}`,
  );
  return {
    length: rows.length,
    episode: Int32Array.from(rows, ({ episode }) => episode),
    task: Int32Array.from(rows, ({ task }) => task),
    dataset: Int32Array.from(rows, ({ dataset }) => dataset),
    tasks,
  };
}

const tables = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 12 }), fc.nat(3)), { minLength: 1, maxLength: 9 })
  .map((episodes) => tableOf(episodes));
const all = (table: RowTable) => selectRows(table, {}, 0);
const drawn = (sampler: ReturnType<typeof rowSampler>, steps: number, size: number) =>
  Array.from({ length: steps }, (_, step) => sampler.batchIndices(step, size)).flat();

test('no row is dropped: each comes once per epoch, whatever the batch size', () => {
  fc.assert(
    fc.property(tables, fc.integer({ min: 1, max: 7 }), fc.nat(1000), (table, size, seed) => {
      const sampler = rowSampler(table, all(table), {}, seed);
      const order = drawn(sampler, Math.max(3, Math.ceil((3 * table.length) / size)), size);
      for (let epoch = 0; epoch < 3; epoch++) {
        const part = order.slice(epoch * table.length, (epoch + 1) * table.length);
        expect([...part].sort((a, b) => a - b)).toEqual([...all(table)]);
      }
      // Any batch can be made without those before it.
      const again = rowSampler(table, all(table), {}, seed);
      expect(again.batchIndices(2, size)).toEqual(order.slice(2 * size, 3 * size));
    }),
  );
});

test('balanced: every task equally often, and none of its rows left out', () => {
  fc.assert(
    fc.property(tables, fc.nat(1000), (table, seed) => {
      const sampler = rowSampler(table, all(table), { balanceTasks: true }, seed);
      const order = drawn(sampler, 4096, 1);
      const present = new Set(table.task);
      const counts = new Map([...present].map((task) => [task, 0]));
      for (const row of order) counts.set(table.task[row]!, counts.get(table.task[row]!)! + 1);
      const values = [...counts.values()];
      expect(Math.max(...values) - Math.min(...values)).toBeLessThanOrEqual(1);
      expect(new Set(order).size).toBe(table.length);
    }),
    { numRuns: 25 },
  );
});

test('weights are shares of datasets', () => {
  const table = tableOf(
    [
      [10, 0],
      [40, 0],
    ],
    [0, 1],
  );
  const order = drawn(rowSampler(table, all(table), { weights: [0.75, 0.25] }, 5), 4096, 1);
  expect(order.filter((row) => row < 10)).toHaveLength(3072);
  const none = Uint32Array.from({ length: 10 }, (_, row) => row);
  expect(thrown(() => rowSampler(table, none, { weights: [0.5, 0.5] }, 5)).code).toBe('SAMPLER_EMPTY');
});

test('a selection has the size asked for, spread over the tasks, and is decided by the seed', () => {
  fc.assert(
    fc.property(tables, fc.integer({ min: 1, max: 60 }), fc.nat(1000), (table, numFrames, seed) => {
      const rows = selectRows(table, { numFrames }, seed);
      expect(rows).toHaveLength(Math.min(numFrames, table.length));
      expect([...rows]).toEqual([...new Set(rows)].sort((a, b) => a - b));
      expect(selectRows(table, { numFrames }, seed)).toEqual(rows);
      const counts = new Map<number, number>();
      const sizes = new Map<number, number>();
      for (const task of table.task) sizes.set(task, (sizes.get(task) ?? 0) + 1);
      for (const row of rows) counts.set(table.task[row]!, (counts.get(table.task[row]!) ?? 0) + 1);
      const most = Math.max(...counts.values());
      // A task has fewer than another only where it is used up, but for the last round.
      for (const [task, size] of sizes) {
        const count = counts.get(task) ?? 0;
        expect(count === size || count >= most - 1).toBe(true);
      }
    }),
  );
});

test('episodes are taken whole; shares are of what is there', () => {
  const table = tableOf([
    [5, 0],
    [7, 0],
    [3, 1],
    [9, 1],
  ]);
  const rows = selectRows(table, { numEpisodes: 2 }, 4);
  const episodes = new Set([...rows].map((row) => table.episode[row]!));
  expect(episodes.size).toBe(2);
  expect(new Set([...episodes].map((episode) => (episode < 2 ? 0 : 1))).size).toBe(2);
  const lengths = [5, 7, 3, 9];
  expect(rows).toHaveLength([...episodes].reduce((sum, episode) => sum + lengths[episode]!, 0));
  expect(selectRows(table, { fraction: 0.25 }, 4)).toHaveLength(6);
  expect(selectRows(table, { fraction: 0.001 }, 4)).toHaveLength(1);
  expect(selectRows(table, { numEpisodes: 99 }, 4)).toHaveLength(24);
  const both = selectRows(table, { episodeFraction: 0.5, numFrames: 4 }, 4);
  expect(both).toHaveLength(4);
  expect([...both].every((row) => episodes.has(table.episode[row]!))).toBe(true);
  const other = new Set(
    Array.from({ length: 20 }, (_, seed) => String(selectRows(table, { numFrames: 5 }, seed))),
  );
  expect(other.size).toBeGreaterThan(15);
  const unknown = { ...table, episode: new Int32Array(24).fill(-1) };
  expect(thrown(() => selectRows(unknown, { numEpisodes: 1 }, 0)).code).toBe('ANCHOR_EPISODES_UNKNOWN');
});
