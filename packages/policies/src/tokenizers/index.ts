export {
  type ActionSequence,
  ActionTokens,
  type ActionTokensOptions,
  type DecodedActions,
} from './action-tokens.js';
export type { PieceMode } from './bpe.js';
export { type CompressionStats, compressionStats, unencodable } from './compression.js';
export { type ChunkOptions, type ChunkSet, datasetChunks } from './dataset-chunks.js';
export type { FastSettings } from './fast-files.js';
export { type ActionChunk, type FastFitOptions, FastTokenizer } from './fast-tokenizer.js';
export { fetchTokenizer, tokenizerFolder } from './locate.js';
export { fetchPolicyTokenizers } from './policy-tokenizers.js';
export { TextTokenizer } from './text-tokenizer.js';
