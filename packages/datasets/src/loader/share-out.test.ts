import fc from 'fast-check';
import { expect, test } from 'vitest';
import { type FrameTask, shareOut } from './frame-decoder.js';

/** Tasks as a batch has them: videos with one or more frames, images; every slot once. */
const taskLists = fc
  .array(fc.tuple(fc.boolean(), fc.integer({ min: 1, max: 9 })), { maxLength: 12 })
  .map((kinds): FrameTask[] => {
    let slot = 0;
    return kinds.map(([video, frames], i) => {
      const slots = Array.from({ length: frames }, () => slot++);
      if (!video) {
        return {
          kind: 'image',
          path: `${i}`,
          column: 'a',
          rows: slots.map((each) => each + 5),
          names: slots.map(String),
          slots,
        };
      }
      return { kind: 'video', path: `${i}.mp4`, times: slots.map((each) => each / 10), slots };
    });
  });

/** Each frame on its own: where it comes from, when, and where it goes. */
const frames = (tasks: readonly FrameTask[]): unknown[] =>
  tasks.flatMap((task): unknown[] =>
    task.kind === 'image'
      ? task.slots.map((slot, i) => [task.path, task.column, task.rows[i], task.names[i], slot])
      : task.slots.map((slot, i) => [task.path, task.times[i], slot]),
  );

test('every frame exactly once, in order, in at most as many shares of about the same size', () => {
  fc.assert(
    fc.property(taskLists, fc.integer({ min: 1, max: 8 }), (tasks, parts) => {
      const shares = shareOut(tasks, parts);
      expect(frames(shares.flat())).toEqual(frames(tasks));
      expect(shares.length).toBeLessThanOrEqual(parts);
      const most = Math.ceil(frames(tasks).length / parts);
      for (const share of shares) {
        expect(frames(share).length).toBeGreaterThan(0);
        expect(frames(share).length).toBeLessThanOrEqual(most);
        for (const task of share)
          expect((task.kind === 'video' ? task.times : task.rows).length).toBe(task.slots.length);
      }
    }),
  );
});

test('nothing is shared out as nothing, and the tasks given are left as they were', () => {
  expect(shareOut([], 3)).toEqual([]);
  const task: FrameTask = { kind: 'video', path: 'a.mp4', times: [0, 1, 2], slots: [2, 0, 1] };
  const before = structuredClone(task);
  expect(shareOut([task], 2)).toEqual([
    [{ ...task, times: [0, 1], slots: [2, 0] }],
    [{ ...task, times: [2], slots: [1] }],
  ]);
  expect(task).toEqual(before);
});
