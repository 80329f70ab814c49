import type { Problem } from '@craft-ft/policies/config';
import { z } from 'zod';

/**
 * What an anchor cache holds besides the policy's inputs. `task`: the recorded actions, for the policy's own loss; the others are
 * targets of a frozen teacher.
 */
export const anchorKindSchema = z.enum(['task', 'token_ce', 'hidden', 'feature', 'action']);
export type AnchorKind = z.infer<typeof anchorKindSchema>;

/** How the frames of an anchor cache are chosen. */
export const anchorSelectionSchema = z.enum(['uniform', 'per_task', 'kmeans', 'herding', 'events']);
export type AnchorSelection = z.infer<typeof anchorSelectionSchema>;

/** Fields of the craft configuration that say where anchors come from and which of them are used. */
export const anchorFields = {
  anchor_cache_dir: z
    .string()
    .default('')
    .describe(
      'Anchor cache to train with, as craft anchors build or craft anchors import wrote it; it takes the place of ' +
        'anchor_dataset_path. Its kinds must be those that retention_mode needs (task for loss). Training then needs neither the ' +
        'old dataset nor the teacher, which may be any policy of the same shape.',
    ),
  anchor_mixture: z
    .array(
      z.strictObject({
        repo_id: z.string().min(1),
        root: z.string().min(1).nullable().default(null),
        episodes: z.array(z.int().min(0)).min(1).nullable().default(null),
        weight: z.number().gt(0).default(1),
      }),
    )
    .min(1)
    .nullable()
    .default(null)
    .meta({
      description:
        'Further old datasets beside anchor_dataset_path, one for each task to keep, with features of the same shapes. weight: ' +
        'how often each is drawn from, relative to anchor_dataset_path, whose weight is 1.',
      typeText: '[{repo_id, root, episodes, weight}] or null',
    }),
  anchor_num_episodes: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Use this many episodes of the anchors, drawn by anchor_seed, evenly over the tasks. null: all. More than there are ' +
        'means all of them. Typical: 5 to 20 for each task.',
    ),
  anchor_episode_fraction: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe('As anchor_num_episodes, as a share of the episodes, in (0, 1]. Not together with it.'),
  anchor_num_frames: z
    .int()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Use this many frames of the anchors (of the chosen episodes), drawn by anchor_seed, evenly over the tasks. null: all. ' +
        'Typical: 500 to 5000; they are seen again and again, so a few hundred already hold on to one task.',
    ),
  anchor_fraction: z
    .number()
    .gt(0)
    .max(1)
    .nullable()
    .default(null)
    .describe(
      'As anchor_num_frames, as a share of the frames, in (0, 1]; 0.1 to 0.5 is typical. Not together with it.',
    ),
  anchor_balance_tasks: z
    .boolean()
    .default(false)
    .describe(
      'Draw every task of the anchors equally often, however many frames it has. false: every frame equally often, so that a ' +
        'long task outweighs a short one. Recommended when the old tasks differ much in length.',
    ),
};

/** What {@link validateAnchors} looks at. */
interface AnchorChoice {
  readonly anchor_dataset_path: string;
  readonly anchor_dataset_root: string | null;
  readonly anchor_episodes: readonly number[] | null;
  readonly anchor_cache_dir: string;
  readonly anchor_mixture: readonly { readonly weight: number }[] | null;
  readonly anchor_num_episodes: number | null;
  readonly anchor_episode_fraction: number | null;
  readonly anchor_num_frames: number | null;
  readonly anchor_fraction: number | null;
  readonly anchor_balance_tasks: boolean;
}

/**
 * Rules between the fields that choose anchors: exactly one source, and one way of saying how much of it.
 *
 * @param method the group that the fields belong to
 * @param chosen what makes the run use this method, for messages (`method=replay`); null where it does not, and so needs no anchors
 * @returns problems under the names of the whole configuration (`craft.anchor_cache_dir`)
 */
export function validateAnchors(config: AnchorChoice, method: string, chosen: string | null): Problem[] {
  const problems: Problem[] = [];
  const name = (field: keyof AnchorChoice) => `${method}.${field}`;
  const refuse = (field: keyof AnchorChoice, message: string, related: (keyof AnchorChoice)[]) =>
    problems.push({ field: name(field), found: config[field], message, related: related.map(name) });
  const hasDataset = config.anchor_dataset_path !== '';
  const hasCache = config.anchor_cache_dir !== '';
  if (chosen !== null && !hasDataset && !hasCache) {
    refuse(
      'anchor_dataset_path',
      `expected the dataset of the old task (or ${name('anchor_cache_dir')}), since ${chosen.replace('=', ' is ')}`,
      ['anchor_cache_dir'],
    );
  }
  if (hasDataset && hasCache) {
    refuse(
      'anchor_cache_dir',
      `expected "" with ${name('anchor_dataset_path')}: anchors come from one of them`,
      ['anchor_dataset_path'],
    );
  }
  for (const field of ['anchor_dataset_root', 'anchor_episodes', 'anchor_mixture'] as const) {
    if (config[field] === null || hasDataset) continue;
    // A cache has its frames chosen already.
    if (hasCache)
      refuse(field, `expected null with ${name('anchor_cache_dir')}: choose them when the cache is built`, [
        'anchor_cache_dir',
      ]);
    else if (field === 'anchor_dataset_root' || chosen !== null)
      refuse('anchor_dataset_path', `expected the name of a dataset, since ${name(field)} is given`, [field]);
  }
  for (const [count, share] of [
    ['anchor_num_episodes', 'anchor_episode_fraction'],
    ['anchor_num_frames', 'anchor_fraction'],
  ] as const) {
    if (config[count] !== null && config[share] !== null)
      refuse(share, `expected null with ${name(count)}: give one of them`, [count]);
  }
  if (config.anchor_balance_tasks && config.anchor_mixture?.some(({ weight }) => weight !== 1)) {
    refuse(
      'anchor_balance_tasks',
      `expected false with weights in ${name('anchor_mixture')}: both say how often`,
      ['anchor_mixture'],
    );
  }
  return problems;
}
