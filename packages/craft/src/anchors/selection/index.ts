import type { Tensor } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { AnchorSelection } from '../config.js';
import { groupBy, selectRows, spread } from '../rows.js';
import type { AnchorSource } from '../source.js';
import { type EpisodeActions, eventSelection, gripperDims } from './events.js';
import { coverage, herdingSelection, kmeansSelection } from './features.js';

/** What a selection is made of. */
interface SelectionRequest {
  strategy: AnchorSelection;
  /** Number of frames to select; all of the source if it has fewer. */
  count: number;
  seed: number;
  /** For `kmeans` and `herding`: frames to choose among, drawn evenly over the tasks. */
  poolSize: number;
  /** Dimensions of the action that are grippers', for `events`. null: found by name or value. */
  gripperDims: readonly number[] | null;
}

/** Rows of a source, ascending, and what is known of how well they cover it. */
interface SelectedRows {
  rows: number[];
  poolSize: number | null;
  coverage: { radius: number; mean: number } | null;
}

/**
 * Chooses the frames of a cache.
 *
 * @param features pooled features `[n, H]` float32 of rows, on the CPU; called at most once, and only for `kmeans` and `herding`
 * @throws CraftError `ANCHOR_SELECTION` where the source lacks what the strategy looks at
 */
export async function selectAnchors(
  source: AnchorSource,
  request: SelectionRequest,
  features: (rows: readonly number[]) => Promise<Tensor>,
): Promise<SelectedRows> {
  const { strategy, seed } = request;
  const { table } = source;
  const count = Math.min(request.count, table.length);
  const all = Array.from({ length: table.length }, (_, row) => row);
  const plain = (rows: number[]) => ({ rows, poolSize: null, coverage: null });
  if (strategy === 'uniform') return plain(spread([all], count, seed).sort((a, b) => a - b));
  if (strategy === 'per_task') return plain([...selectRows(table, { numFrames: count }, seed)]);
  if (strategy === 'events') return plain(chooseEvents(source, count, request.gripperDims));
  const byTask = [...groupBy(all, (row) => table.task[row]!).values()];
  const pool = spread(byTask, Math.max(count, Math.min(request.poolSize, table.length)), seed).sort(
    (a, b) => a - b,
  );
  const points = await features(pool);
  try {
    const chosen =
      strategy === 'kmeans' ? kmeansSelection(points, count, seed) : herdingSelection(points, count);
    return {
      rows: chosen.map((at) => pool[at]!),
      poolSize: pool.length,
      coverage: coverage(points, chosen),
    };
  } finally {
    points.dispose();
  }
}

function chooseEvents(source: AnchorSource, count: number, given: readonly number[] | null): number[] {
  const episodes = source.members.flatMap((member): EpisodeActions[] => {
    const column = member.columns.get('action');
    if (column === undefined) {
      const remedy = 'choose another --selection';
      throw new CraftError(
        'ANCHOR_SELECTION',
        `${member.repoId}: events needs an "action" column; ${remedy}`,
      );
    }
    return member.episodes.map(({ start, end }) => ({
      actions: column.data.subarray(start * column.width, end * column.width),
      length: end - start,
      width: column.width,
    }));
  });
  const { names } = source.members[0]!.features.action!;
  const flat = Array.isArray(names)
    ? names
    : Object.values((names ?? {}) as Record<string, unknown>).find(Array.isArray);
  return eventSelection(episodes, given ?? gripperDims(episodes, flat), count);
}
