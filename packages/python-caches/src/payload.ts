import { cat, full, noGrad, scope, type Tensor, tensor } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { PickleValue } from './pickle.js';
import { PickledTensor, TorchFile } from './torch-file.js';

/** What kind of targets a shard of the Python project holds, by the name of the tensor. */
type PayloadKind = 'labels' | 'teacher_hidden' | 'target_features';

/** What is said about the targets of a shard, in this project's terms. */
interface PayloadMeta {
  readonly kind: PayloadKind;
  /** Indices into the n_layers + 1 hidden states. */
  readonly layers: readonly number[];
  /** As the shard calls them. */
  readonly pooling: string | null;
}

/** Tensors of a shard, by this project's names, and its prompts. */
export interface Payload {
  readonly meta: PayloadMeta;
  /** In the scope of the caller. */
  readonly tensors: Record<string, Tensor>;
  readonly prompts: readonly string[];
  /** Whether the pooled text token is at the same position as the student's. */
  readonly textInPlace: boolean;
}

interface PayloadOptions {
  /** Policy key of the camera. */
  readonly imageKey: string;
  /** Id of BOS in the policy's tokeniser. */
  readonly bosId: number;
}

const TARGETS: readonly PayloadKind[] = ['labels', 'teacher_hidden', 'target_features'];

/**
 * Reads one shard of the Python project.
 *
 * Images come from [-1, 1] back to [0, 1], float32 as they were. `input_ids` and `attention_mask` become the language tokens that
 * pi0_fast takes; a BOS that follows the padding is dropped, since the policy adds its own. In a labels shard, which holds prompt and
 * action tokens in one row, the labelled part becomes `anchor.token_labels` behind BOS.
 *
 * @throws CraftError `ANCHOR_IMPORT` naming file and tensor; those of {@link TorchFile}
 */
export function readPayload(path: string, { imageKey, bosId }: PayloadOptions): Payload {
  using file = TorchFile.open(path);
  const wrong = (what: string) =>
    new CraftError('ANCHOR_IMPORT', `${path}: ${what}; is it a shard of an anchor cache?`);
  if (!(file.value instanceof Map)) throw wrong('it does not hold a dict');
  const shard = file.value;
  const kind = TARGETS.find((name) => shard.has(name));
  if (kind === undefined) throw wrong(`it has none of ${TARGETS.join(', ')}`);
  const described = (name: string, dims: number): PickledTensor => {
    const value = shard.get(name);
    if (!(value instanceof PickledTensor)) throw wrong(`it has no tensor "${name}"`);
    if (value.shape.length !== dims) throw wrong(`"${name}" is [${value.shape}], not of ${dims} dimensions`);
    return value;
  };
  const dims = { labels: 2, teacher_hidden: 4, target_features: 2 }[kind];
  const parts = {
    pixels: described('pixel_values', 4),
    ids: described('input_ids', 2),
    mask: described('attention_mask', 2),
    target: described(kind, dims),
  };
  const count = parts.target.shape[0]!;
  for (const [name, { shape }] of Object.entries(parts))
    if (shape[0] !== count || count === 0)
      throw wrong(`"${name}" has ${shape[0]} samples, "${kind}" ${count}`);
  if (parts.ids.shape.join() !== parts.mask.shape.join())
    throw wrong(`input_ids is [${parts.ids.shape}], attention_mask [${parts.mask.shape}]`);
  const meta = shard.get('meta');
  return scope(() =>
    noGrad(() => {
      const pixels = file.tensor(parts.pixels).to({ dtype: 'float32' });
      const ids = file.tensor(parts.ids).to({ dtype: 'int64' });
      const mask = file.tensor(parts.mask).ne(0);
      const target = file.tensor(parts.target);
      const image = pixels.add(1).div(2).clamp(0, 1);
      const language = kind === 'labels' ? promptOf(ids, mask, target) : withoutBos(ids, mask, bosId);
      return {
        meta: describeTargets(kind, meta instanceof Map ? meta : new Map(), wrong),
        tensors: {
          [imageKey]: image,
          'observation.language.tokens': language.ids,
          'observation.language.attention_mask': language.mask,
          ...targetTensors(kind, target, bosId),
        },
        prompts: texts(shard.get('prompts'), count),
        textInPlace: Number(language.mask.all().item()) === 1,
      };
    }),
  );
}

function texts(value: PickleValue | undefined, count: number): string[] {
  const list = Array.isArray(value) && value.length === count ? value : [];
  return Array.from({ length: count }, (_, i) => (typeof list[i] === 'string' ? list[i] : ''));
}

function describeTargets(
  kind: PayloadKind,
  meta: Map<string | number, PickleValue>,
  wrong: (what: string) => CraftError,
): PayloadMeta {
  if (kind === 'labels') return { kind, layers: [], pooling: null };
  if (kind === 'target_features') {
    const [layer, pooling] = [meta.get('hidden_layer'), meta.get('pooling')];
    if (typeof layer !== 'number' || typeof pooling !== 'string')
      throw wrong('its meta has no hidden_layer and pooling');
    return { kind, layers: [layer], pooling };
  }
  const layers = meta.get('layers_to_save');
  if (!Array.isArray(layers) || !layers.every((layer) => typeof layer === 'number'))
    throw wrong('its meta has no layers_to_save');
  // It counts layers without the embeddings, which are entry 0 here.
  return { kind, layers: layers.map((layer) => layer + 1), pooling: 'vision mean, text last' };
}

interface Tokens {
  ids: Tensor;
  mask: Tensor;
}

function withoutBos(ids: Tensor, mask: Tensor, bosId: number): Tokens {
  const length = ids.size(1);
  if (length < 2) return { ids, mask };
  const column = (at: number) => ids.select(1, at).eq(bosId).all().item();
  // A prompt has its own BOS in front; one at the very end, behind the padding, was added for the forward pass.
  const added = Number(column(length - 1)) === 1 && Number(column(0)) === 1;
  if (!added) return { ids, mask };
  return {
    ids: ids.narrow(1, 0, length - 1).contiguous(),
    mask: mask.narrow(1, 0, length - 1).contiguous(),
  };
}

/** The tokens before the first label of each row, padded with 0 on the right to the longest. */
function promptOf(ids: Tensor, mask: Tensor, labels: Tensor): Tokens {
  const [rows, valid, marks] = [ids, mask, labels.ne(IGNORED)].map(
    (values) => values.to({ dtype: 'int64' }).tolist() as number[][],
  ) as [number[][], number[][], number[][]];
  const prompts = rows.map((row, i) => {
    const first = marks[i]!.indexOf(1);
    return row.slice(0, first < 0 ? row.length : first).filter((_, at) => valid[i]![at] === 1);
  });
  return padded(prompts);
}

const IGNORED = -100;

function targetTensors(kind: PayloadKind, target: Tensor, bosId: number): Record<string, Tensor> {
  if (kind === 'teacher_hidden') return { 'anchor.hidden': target };
  if (kind === 'target_features') return { 'anchor.feature': target };
  const rows = target.to({ dtype: 'int64' }).tolist() as number[][];
  const labels = rows.map((row) => {
    const own = row.filter((label) => label !== IGNORED);
    return own[0] === bosId ? own : [bosId, ...own];
  });
  const { ids, mask } = padded(labels);
  return { 'anchor.token_labels': ids, 'anchor.token_mask': mask };
}

function padded(rows: readonly (readonly number[])[]): Tokens {
  const length = Math.max(1, ...rows.map((row) => row.length));
  const ids = new BigInt64Array(rows.length * length);
  const mask = new Uint8Array(rows.length * length);
  rows.forEach((row, i) => {
    ids.set(row.map(BigInt), i * length);
    mask.fill(1, i * length, i * length + row.length);
  });
  const shape = [rows.length, length];
  return { ids: tensor(ids, { shape }), mask: tensor(mask, { shape, dtype: 'bool' }) };
}

/** The tensor with its second dimension padded with zeros to a length. */
export function widened(values: Tensor, length: number): Tensor {
  const missing = length - values.size(1);
  if (missing <= 0) return values;
  const { dtype } = values;
  return cat([values, full([values.size(0), missing], dtype === 'bool' ? false : 0, { dtype })], 1);
}
