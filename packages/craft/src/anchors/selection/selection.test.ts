import { Xoshiro128 } from '@craft-ft/datasets';
import { scope, setNumThreads, tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { type EpisodeActions, eventScores, eventSelection, gripperDims } from './events.js';
import { coverage, herdingSelection, kmeansSelection } from './features.js';

setNumThreads(1);

/** Points around centres; the first cluster has `many` of them, every other three. */
function clusters(many: number, others: number): { points: number[][]; cluster: number[] } {
  const random = new Xoshiro128(1, 0);
  const noise = () => (random.next() / 2 ** 32 - 0.5) * 0.2;
  const cluster = [
    ...Array<number>(many).fill(0),
    ...Array.from({ length: 3 * others }, (_, i) => 1 + (i % others)),
  ];
  const centre = (c: number) => [10 * Math.cos(c), 10 * Math.sin(c), 3 * c];
  return { points: cluster.map((c) => centre(c).map((value) => value + noise())), cluster };
}

test('k-means has an anchor in every cluster, where chance misses the small ones', () => {
  const { points, cluster } = clusters(300, 9);
  scope(() => {
    const features = tensor(points.flat(), { shape: [points.length, 3] });
    for (let seed = 0; seed < 8; seed++) {
      const chosen = kmeansSelection(features, 10, seed);
      expect(chosen).toHaveLength(10);
      expect(new Set(chosen.map((i) => cluster[i])).size).toBe(10);
    }
    const again = kmeansSelection(features, 10, 3);
    expect(kmeansSelection(features, 10, 3)).toEqual(again);
    const chance = Array.from({ length: 10 }, (_, i) => i * 30);
    expect(coverage(features, again).radius).toBeLessThan(0.1 * coverage(features, chance).radius);
  });
});

test('k-means with as many anchors as frames, and with copies of one frame', () => {
  scope(() => {
    const few = tensor([0, 1, 5], { shape: [3, 1] });
    expect(kmeansSelection(few, 3, 0)).toEqual([0, 1, 2]);
    expect(coverage(few, [0, 1, 2])).toEqual({ radius: 0, mean: 0 });
    const same = tensor(Array<number>(12).fill(1), { shape: [6, 2] });
    expect(new Set(kmeansSelection(same, 4, 0)).size).toBe(4);
    expect(new Set(herdingSelection(same, 4)).size).toBe(4);
  });
});

test('herding: the mean of the chosen is that of all, closer than by chance', () => {
  const random = new Xoshiro128(3, 0);
  const points = Array.from({ length: 200 }, () =>
    Array.from({ length: 4 }, () => (random.next() / 2 ** 32) ** 3),
  );
  const mean = (rows: readonly number[]) =>
    [0, 1, 2, 3].map((d) => rows.reduce((sum, row) => sum + points[row]![d]!, 0) / rows.length);
  const every = mean(points.map((_, i) => i));
  const distance = (rows: readonly number[]) =>
    Math.hypot(...mean(rows).map((value, d) => value - every[d]!));
  scope(() => {
    const features = tensor(points.flat(), { shape: [200, 4] });
    const chosen = herdingSelection(features, 12);
    expect(new Set(chosen).size).toBe(12);
    const chance = Array.from({ length: 12 }, (_, i) => i * 16);
    expect(distance(chosen)).toBeLessThan(0.2 * distance(chance));
  });
});

/** Joints that move evenly and turn once, and a gripper that closes and opens. */
function episode(length: number, turn: number, closes: number, opens: number): EpisodeActions {
  const actions = Array.from({ length }, (_, t) => [
    0.01 * (t < turn ? t : 2 * turn - t),
    0.02 * t,
    t >= closes && t < opens ? 1 : 0,
  ]);
  return { actions: actions.flat(), length, width: 3 };
}

test('events: finds the gripper by value or name, its changes first, then changes of speed', () => {
  const episodes = [episode(60, 30, 12, 45), episode(50, 25, 8, 40)];
  expect(gripperDims(episodes, null)).toEqual([2]);
  expect(gripperDims(episodes, ['x', 'left_gripper', 'z'])).toEqual([1]);
  const scores = eventScores(episodes, [2]);
  expect(scores[0]!.filter((score) => score > 1)).toHaveLength(2);
  const rows = eventSelection(episodes, [2], 4);
  expect(rows).toEqual([12, 45, 68, 100]);
  expect(eventSelection(episodes, [2], 6)).toEqual([12, 30, 45, 68, 85, 100]);
  // More than there are events: the rest is filled up, without repeats.
  expect(new Set(eventSelection(episodes, [2], 110)).size).toBe(110);
  expect(eventSelection(episodes, [], 3)).toHaveLength(3);
});

test('events: actions that never change', () => {
  const still: EpisodeActions = { actions: new Float32Array(20), length: 10, width: 2 };
  expect(gripperDims([still], null)).toEqual([]);
  expect(eventSelection([still], [], 3)).toHaveLength(3);
});
