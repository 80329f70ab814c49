import type { Policy, TensorBatch } from '@craft-ft/policies';
import { CraftError, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';
import { extractFeatures, type FeatureSpec } from '../features.js';
import type { AnchorKind } from './config.js';

/** Whose action tokens are the labels of `token_ce`. */
export type TokenSource = 'teacher' | 'recorded';

/** What a teacher is asked. */
export interface TargetRequest {
  readonly kinds: readonly AnchorKind[];
  /** For `hidden`; `feature` is the first layer and pooling. */
  readonly features: FeatureSpec;
  readonly tokenSource: TokenSource;
  /** How targets are stored. */
  readonly dtype: 'float16' | 'float32';
}

/** A policy that writes action tokens, as pi0_fast. */
interface TokenPolicy {
  generateTokens(batch: TensorBatch): number[][];
}

/**
 * A frozen teacher's targets for a batch, on the CPU, as a cache stores them. Evaluation mode, no graph, no random numbers (but for a
 * policy that decodes with a temperature).
 *
 * @param batch preprocessed, with the recorded actions
 * @throws CraftError `ANCHOR_KIND` where the policy has no such target; `ANCHOR_NOT_FINITE` for a target that float16 cannot hold
 */
export function computeTargets(
  policy: Policy,
  batch: TensorBatch,
  request: TargetRequest,
): Record<string, Tensor> {
  const { kinds, features } = request;
  return scope(() =>
    noGrad(() => {
      const targets: Record<string, Tensor> = {};
      if (kinds.includes('hidden') || kinds.includes('feature')) {
        const spec = kinds.includes('hidden')
          ? features
          : { layers: features.layers.slice(0, 1), poolings: features.poolings.slice(0, 1) };
        const hidden = extractFeatures(policy, batch, spec);
        if (kinds.includes('hidden')) targets['anchor.hidden'] = stored(hidden, request.dtype, 'hidden');
        if (kinds.includes('feature'))
          targets['anchor.feature'] = stored(hidden.select(1, 0).select(1, 0), request.dtype, 'feature');
      }
      if (kinds.includes('action'))
        targets['anchor.action'] = stored(policy.predictActionChunk(batch), request.dtype, 'action');
      if (kinds.includes('token_ce'))
        Object.assign(targets, tokenTargets(policy, batch, request.tokenSource));
      return targets;
    }),
  );
}

function stored(values: Tensor, dtype: 'float16' | 'float32', kind: AnchorKind): Tensor {
  const result = values.to({ dtype, device: 'cpu' }).contiguous();
  if (Number(result.isfinite().all().item()) === 1) return result;
  const largest = values.abs().max().item();
  const why =
    dtype === 'float16' && Number.isFinite(largest)
      ? `values up to ${largest.toPrecision(3)}, beyond float16; use --dtype=float32`
      : 'NaN or infinite values; is the checkpoint intact?';
  throw new CraftError('ANCHOR_NOT_FINITE', `the teacher's ${kind} targets have ${why}`);
}

/** Labels begin with BOS, as the tokens of recorded actions do; the teacher's end with "|". */
function tokenTargets(policy: Policy, batch: TensorBatch, source: TokenSource): Record<string, Tensor> {
  const { 'action.tokens': recorded, 'action.token_mask': mask } = batch;
  if (recorded === undefined || mask === undefined || !('generateTokens' in policy)) {
    const remedy = 'choose other --kinds, such as hidden or action';
    throw new CraftError(
      'ANCHOR_KIND',
      `token_ce: policy.type=${policy.config.type} has no action tokens; ${remedy}`,
    );
  }
  if (source === 'recorded')
    return {
      'anchor.token_labels': recorded.to({ dtype: 'int64', device: 'cpu' }),
      'anchor.token_mask': mask.to({ dtype: 'bool', device: 'cpu' }),
    };
  const rows = (policy as unknown as TokenPolicy).generateTokens(batch);
  const bos = Number(recorded.select(0, 0).select(0, 0).item());
  // The longest sequence the policy takes.
  const length = Math.min(recorded.size(1), Math.max(...rows.map((row) => row.length)) + 1);
  const labels = new BigInt64Array(rows.length * length);
  const valid = new Uint8Array(rows.length * length);
  rows.forEach((row, i) => {
    const end = row.findLastIndex((token) => token !== 0) + 1;
    const tokens = [bos, ...row.slice(0, end)].slice(0, length);
    labels.set(tokens.map(BigInt), i * length);
    valid.fill(1, i * length, i * length + tokens.length);
  });
  const shape = [rows.length, length];
  return {
    'anchor.token_labels': tensor(labels, { shape }),
    'anchor.token_mask': tensor(valid, { shape, dtype: 'bool' }),
  };
}

/** Sums of squares of the feature targets, by tensor: one per layer and pooling. */
export function sumsOfSquares(targets: Readonly<Record<string, Tensor>>): Record<string, number[]> {
  const squares: Record<string, number[]> = {};
  for (const name of ['anchor.hidden', 'anchor.feature']) {
    const values = targets[name];
    if (values === undefined) continue;
    squares[name] = scope(() =>
      noGrad(() => {
        const rows = values.to({ dtype: 'float64' }).square();
        const width = rows.size(-1);
        return Array.from(
          rows
            .reshape([rows.size(0), -1, width])
            .sum([0, 2])
            .toTypedArray() as Float64Array,
        );
      }),
    );
  }
  return squares;
}
