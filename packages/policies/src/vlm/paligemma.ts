import { type DType, nn, noGrad, type safetensors, type Tensor } from '@craft-ft/torch';
import { Gemma, type GemmaSizes } from './gemma.js';
import { Projector, type SiglipSizes, SiglipVision } from './siglip.js';

/** Sizes of a PaliGemma. The projector maps vision.width to text.width. */
export interface PaligemmaSizes {
  vision: SiglipSizes;
  text: GemmaSizes;
}

export const PALIGEMMA_VARIANTS = ['gemma_2b', 'gemma_300m', 'gemma_mini', 'gemma_tiny'] as const;
type PaligemmaVariant = (typeof PALIGEMMA_VARIANTS)[number];

/** SigLIP So400m/14, the tower of every published PaliGemma. */
const SO400M: SiglipSizes = { width: 1152, depth: 27, mlpDim: 4304, heads: 16, patch: 14 };

/** Vocabulary size of PaliGemma's tokeniser, including location, segmentation and special tokens. */
const PALIGEMMA_VOCABULARY = 257_152;

/** Room for the byte tokeniser that ships with this project, the skipped ids and a FAST vocabulary of up to 3,500 tokens. */
const SMALL_VOCABULARY = 4096;

const TEXT_2B = { depth: 18, heads: 8, kvHeads: 1, headDim: 256, vocabSize: PALIGEMMA_VOCABULARY };

/**
 * `gemma_2b` and `gemma_300m` are LeRobot's `get_gemma_config` with PaliGemma's vision tower (LeRobot's own `gemma_300m` projects
 * images to 2048 features instead of 1024 and cannot run). `gemma_mini` and `gemma_tiny` are the same architecture for a laptop.
 */
export const VARIANT_SIZES: Readonly<Record<PaligemmaVariant, PaligemmaSizes>> = {
  gemma_2b: { vision: SO400M, text: { ...TEXT_2B, width: 2048, mlpDim: 16_384 } },
  gemma_300m: { vision: SO400M, text: { ...TEXT_2B, width: 1024, mlpDim: 4096 } },
  gemma_mini: {
    vision: { width: 384, depth: 6, mlpDim: 1536, heads: 6, patch: 14 },
    text: {
      width: 512,
      depth: 8,
      mlpDim: 2048,
      heads: 8,
      kvHeads: 1,
      headDim: 64,
      vocabSize: SMALL_VOCABULARY,
    },
  },
  gemma_tiny: {
    vision: { width: 96, depth: 2, mlpDim: 256, heads: 4, patch: 14 },
    text: {
      width: 128,
      depth: 4,
      mlpDim: 512,
      heads: 4,
      kvHeads: 1,
      headDim: 32,
      vocabSize: SMALL_VOCABULARY,
    },
  },
};

class PaliGemmaModel extends nn.Module {
  readonly visionTower: SiglipVision;
  readonly multiModalProjector: Projector;
  readonly languageModel: Gemma;

  constructor({ vision, text }: PaligemmaSizes, resolution: readonly [number, number]) {
    super();
    this.visionTower = new SiglipVision(vision, resolution);
    this.multiModalProjector = new Projector(vision.width, text.width);
    this.languageModel = new Gemma(text);
  }

  override forward(): never {
    throw new Error('called through Pi0FastModel');
  }
}

/**
 * PaliGemma (Beyer et al., 2024) under transformers' names. `lm_head` and `embed_tokens` are parameters of their own, as in LeRobot:
 * published checkpoints start with equal values, training lets them drift apart.
 */
export class PaliGemma extends nn.Module {
  readonly model: PaliGemmaModel;
  readonly lmHead: nn.Linear;

  constructor(sizes: PaligemmaSizes, resolution: readonly [number, number]) {
    super();
    this.model = new PaliGemmaModel(sizes, resolution);
    this.lmHead = new nn.Linear(sizes.text.width, sizes.text.vocabSize, { bias: false });
  }

  /** Logits `[..., vocabulary]` of hidden states after the final norm. */
  override forward(hidden: Tensor): Tensor {
    return this.lmHead.call(hidden);
  }
}

/** Parameters that stay in float32 in a bfloat16 model, as LeRobot's `to_bfloat16_for_selected_params`. */
const FLOAT32 = ['vision_tower', 'input_layernorm', 'post_attention_layernorm', 'model.norm'];

/**
 * Random weights for training from scratch (N(0, 0.02) for matrices, 0 for biases; norms start as the identity), each cast to its
 * dtype as soon as it is made, so that a bfloat16 model never exists in float32.
 */
export function makeWeights(module: nn.Module, dtype: DType): void {
  for (const [path, layer] of module.namedModules()) {
    initialise(layer);
    if (layer.namedChildren().length > 0) continue;
    for (const [name, parameter] of layer.namedParameters()) cast(`${path}.${name}`, parameter, dtype);
  }
}

function initialise(layer: nn.Module): void {
  const affine = layer instanceof nn.Linear || layer instanceof nn.Conv2d;
  if (affine || layer instanceof nn.Embedding) nn.init.normal_(layer.weight, 0, 0.02);
  if (affine && layer.bias !== null) nn.init.zeros_(layer.bias);
}

function cast(name: string, parameter: nn.Parameter, dtype: DType): void {
  const target = FLOAT32.some((part) => name.includes(part)) ? 'float32' : dtype;
  if (parameter.dtype === target) return;
  using moved = noGrad(() => parameter.to(target));
  parameter.setData_(moved);
}

/** The query and value projections of the decoder, LoRA's default targets as in LeRobot's pi0: a regular expression. */
export const DECODER_ATTENTION = String.raw`.*\.language_model\.layers\.\d+\.self_attn\.(q|v)_proj`;

const PREFIX = 'model.paligemma_with_expert.paligemma.';
const TOWER = `${PREFIX}model.vision_tower.`;
const HEAD = `${PREFIX}lm_head.weight`;
const EMBEDDING = `${PREFIX}model.language_model.embed_tokens.weight`;

/**
 * Maps tensor names of a checkpoint with a PaliGemma, as LeRobot loads it: adds the leading `model.` that older ones lack, lets the
 * head stand in for token embeddings that the file does not have, and restores the level `vision_model`, which transformers 5.17
 * dropped.
 *
 * @returns the tensor's name here, then those it stands in for
 */
export function paligemmaNames(name: string): string[] {
  const full = name.startsWith('model.') ? name : `model.${name}`;
  if (full === HEAD) return [HEAD, EMBEDDING];
  if (full.startsWith(TOWER) && !full.startsWith(`${TOWER}vision_model.`))
    return [`${TOWER}vision_model.${full.slice(TOWER.length)}`];
  return [full];
}

const GATE = /(^|\.)language_model\.layers\.0\.mlp\.gate_proj\.weight$/;

/** The variant whose shapes a checkpoint has; null if there is none. */
export function paligemmaVariant(file: safetensors.TensorSource): PaligemmaVariant | null {
  const name = file.names.find((one) => GATE.test(one));
  if (name === undefined) return null;
  const [mlpDim, width] = file.info(name).shape;
  return (
    PALIGEMMA_VARIANTS.find((variant) => {
      const { text } = VARIANT_SIZES[variant];
      return text.mlpDim === mlpDim && text.width === width;
    }) ?? null
  );
}
