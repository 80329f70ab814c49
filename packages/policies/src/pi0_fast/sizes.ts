/** SigLIP vision tower: a transformer over square patches. */
export interface SiglipSizes {
  width: number;
  depth: number;
  mlpDim: number;
  heads: number;
  /** Side of a patch, pixels. */
  patch: number;
}

/** Gemma decoder. */
export interface GemmaSizes {
  width: number;
  depth: number;
  mlpDim: number;
  heads: number;
  /** Key and value heads; each serves heads / kvHeads query heads. */
  kvHeads: number;
  headDim: number;
  vocabSize: number;
}

/** Sizes of a PaliGemma. The projector maps vision.width to text.width. */
export interface Pi0FastSizes {
  vision: SiglipSizes;
  text: GemmaSizes;
}

export const PALIGEMMA_VARIANTS = ['gemma_2b', 'gemma_300m', 'gemma_mini', 'gemma_tiny'] as const;
export type PaligemmaVariant = (typeof PALIGEMMA_VARIANTS)[number];

/** SigLIP So400m/14, the tower of every published PaliGemma. */
const SO400M: SiglipSizes = { width: 1152, depth: 27, mlpDim: 4304, heads: 16, patch: 14 };

/** Ids of PaliGemma's tokeniser, with its locations, segments and special tokens. */
const PALIGEMMA_VOCABULARY = 257_152;

/** Room for the byte tokeniser that ships with this project, the skipped ids and a FAST vocabulary of up to 3,500 tokens. */
const SMALL_VOCABULARY = 4096;

const TEXT_2B = { depth: 18, heads: 8, kvHeads: 1, headDim: 256, vocabSize: PALIGEMMA_VOCABULARY };

/**
 * `gemma_2b` and `gemma_300m` are LeRobot's `get_gemma_config` with PaliGemma's vision tower (LeRobot's own `gemma_300m` projects
 * images to 2048 features instead of 1024 and cannot run). `gemma_mini` and `gemma_tiny` are the same architecture for a laptop.
 */
export const VARIANT_SIZES: Readonly<Record<PaligemmaVariant, Pi0FastSizes>> = {
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

/** Tokens that one camera becomes at a resolution [height, width]. */
export function imageTokens({ patch }: SiglipSizes, [height, width]: readonly [number, number]): number {
  return Math.floor(height / patch) * Math.floor(width / patch);
}
