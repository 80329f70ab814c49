import type { FastTokenizer } from './fast-tokenizer.js';

/** How well a FAST tokeniser does on chunks. Names of token counts are those of LeRobot's script. */
export interface CompressionStats {
  /** Numbers per token. */
  compression_ratio: number;
  mean_token_length: number;
  p99_token_length: number;
  min_token_length: number;
  max_token_length: number;
  /** Root of the mean squared difference between actions and what comes back, in normalised units. */
  reconstruction_rmse: number;
  reconstruction_max_error: number;
}

const SAMPLE = 1000;

/** Encodes and decodes up to 1000 chunks, evenly spread. */
export function compressionStats(
  tokenizer: FastTokenizer,
  chunks: readonly Float32Array[],
  [steps, width]: readonly [number, number],
): CompressionStats {
  const stride = Math.max(1, chunks.length / SAMPLE);
  const lengths: number[] = [];
  let squares = 0;
  let worst = 0;
  for (let i = 0; i < chunks.length; i += stride) {
    const chunk = chunks[Math.floor(i)]!;
    const ids = tokenizer.encode(chunk, [steps, width]);
    lengths.push(ids.length);
    const back = tokenizer.decode(ids, steps, width).flat();
    for (let k = 0; k < chunk.length; k++) {
      const error = Math.abs(back[k]! - chunk[k]!);
      squares += error * error;
      worst = Math.max(worst, error);
    }
  }
  lengths.sort((a, b) => a - b);
  const mean = lengths.reduce((sum, length) => sum + length, 0) / lengths.length;
  const at = 0.99 * (lengths.length - 1);
  const [low, high] = [lengths[Math.floor(at)]!, lengths[Math.ceil(at)]!];
  return {
    compression_ratio: (steps * width) / mean,
    mean_token_length: mean,
    p99_token_length: low + (high - low) * (at % 1),
    min_token_length: lengths[0]!,
    max_token_length: lengths.at(-1)!,
    reconstruction_rmse: Math.sqrt(squares / (lengths.length * steps * width)),
    reconstruction_max_error: worst,
  };
}

/** Coefficients between two values, inclusive, that cannot be encoded: they would vanish and shift all that follow. */
export function unencodable(tokenizer: FastTokenizer, from: number, to: number): number[] {
  const values = Array.from({ length: to - from + 1 }, (_, i) => from + i);
  return values.filter((value) => {
    const found = tokenizer.decodeCoefficients(tokenizer.encodeCoefficients(Int32Array.of(value)));
    return found.length !== 1 || found[0] !== value;
  });
}
