import type { Products } from '../coefficients.js';
import type { SurgeryGranularity } from '../config.js';
import { type Combination, normSquared } from './combine.js';

/**
 * Which group of the surgery each parameter belongs to: all in one (`model`), one for each repeated block or layer (`module`), or each
 * on its own (`tensor`).
 *
 * A block is what a name says up to its first number (`model.encoder.layers.0`, `model.backbone.layer1.0`); a parameter outside of
 * blocks belongs to the layer that owns it (`model.action_head`).
 *
 * @param names of the parameters, as in the state dict
 * @returns per parameter the index of its group, from 0
 */
export function surgeryGroups(names: readonly string[], granularity: SurgeryGranularity): number[] {
  if (granularity === 'model') return names.map(() => 0);
  if (granularity === 'tensor') return names.map((_, i) => i);
  const groups = new Map<string, number>();
  return names.map((name) => {
    const block = blockOf(name);
    if (!groups.has(block)) groups.set(block, groups.size);
    return groups.get(block)!;
  });
}

function blockOf(name: string): string {
  const parts = name.split('.');
  const numbered = parts.findIndex((part) => /^\d+$/.test(part));
  return parts.slice(0, numbered < 0 ? -1 : numbered + 1).join('.');
}

/** The decision for every parameter, and what it comes to over the whole model. */
export interface GroupedCombination extends Products {
  /** Per parameter, or one number where all share it. */
  a: number | number[];
  b: number | number[];
  /** |g| of the merged gradient. */
  norm: number;
  /** Share of the groups in conflict; with one group 0 or 1. */
  conflictShare: number;
}

/**
 * Decides group by group.
 *
 * @param perEntry inner products of each parameter
 * @param groups as {@link surgeryGroups} gives them
 */
export function combineGroups(
  perEntry: readonly Products[],
  groups: readonly number[],
  decide: (products: Products) => Combination,
): GroupedCombination {
  const sums: Products[] = [];
  perEntry.forEach(({ d, T, R }, i) => {
    sums[groups[i]!] ??= { d: 0, T: 0, R: 0 };
    const sum = sums[groups[i]!]!;
    sum.d += d;
    sum.T += T;
    sum.R += R;
  });
  const decisions = sums.map(decide);
  const total = (key: keyof Products) => sums.reduce((sum, products) => sum + products[key], 0);
  const norm = decisions.reduce((sum, { a, b }, i) => sum + normSquared(sums[i]!, a, b), 0);
  const [only] = decisions;
  const spread = (key: 'a' | 'b') =>
    decisions.length === 1 ? only![key] : groups.map((group) => decisions[group]![key]);
  return {
    d: total('d'),
    T: total('T'),
    R: total('R'),
    a: spread('a'),
    b: spread('b'),
    norm: Math.sqrt(norm),
    conflictShare: decisions.filter(({ conflict }) => conflict).length / decisions.length,
  };
}
