import { join } from 'node:path';
import type { PlainObject } from '@craft-ft/datasets/json';
import { atomicWriteFile, CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import { readTokenizerJson } from '../../tokenizers/locate.js';
import { Bpe, type Merge } from './bpe.js';

/** Settings of a FAST tokeniser besides its vocabulary. */
export interface FastSettings {
  /** Coefficients are multiplied by this before they are rounded. */
  scale: number;
  /** Vocabulary size requested in training; the actual one may be smaller. */
  vocabSize: number;
  /** The coefficient that code point 0 stands for. */
  minToken: number;
  /** The largest coefficient; null if unknown, as for upstream's tokenisers. */
  maxToken: number | null;
  /** Chunk length that it was trained for; null if any. */
  timeHorizon: number | null;
  /** Number of action dimensions that it was trained for; null if any. */
  actionDim: number | null;
}

const processorSchema = z.object({
  scale: z.number().positive(),
  vocab_size: z.int().positive().default(1024),
  min_token: z.int(),
  time_horizon: z.int().positive().nullish(),
  action_dim: z.int().positive().nullish(),
});

const merge = z.union([
  z.tuple([z.string(), z.string()]),
  z.string().transform((text, context): [string, string] => {
    const cut = text.indexOf(' ');
    if (cut < 1) context.addIssue('a merge needs two tokens');
    return [text.slice(0, cut), text.slice(cut + 1)];
  }),
]);

const tokenizerSchema = z.object({
  normalizer: z.null().optional(),
  pre_tokenizer: z
    .object({
      type: z.literal('ByteLevel'),
      add_prefix_space: z.literal(false),
      use_regex: z.boolean().default(true),
    })
    .nullish(),
  model: z.object({
    type: z.literal('BPE').optional(),
    vocab: z.record(z.string(), z.int().nonnegative()),
    merges: z.array(merge),
  }),
});

/**
 * Reads a FAST tokeniser's folder: `processor_config.json` and `tokenizer.json`; `metadata.json`, where this project wrote it, has
 * the largest coefficient.
 *
 * @throws CraftError `TOKENIZER_MISSING`, `TOKENIZER_INVALID` naming the file and the field
 */
export function readFastFolder(folder: string): { bpe: Bpe; settings: FastSettings } {
  const config = readTokenizerJson(folder, 'processor_config.json');
  if (config === null) {
    throw new CraftError(
      'TOKENIZER_INVALID',
      `${folder}: processor_config.json is missing, so this is a text tokenizer and no FAST one`,
    );
  }
  const processor = parse(processorSchema, config, join(folder, 'processor_config.json'));
  const path = join(folder, 'tokenizer.json');
  const { model, pre_tokenizer: pieces } = parse(
    tokenizerSchema,
    readTokenizerJson(folder, 'tokenizer.json'),
    path,
  );
  requireMerges(model, path);
  const maxToken = readTokenizerJson(folder, 'metadata.json')?.max_token;
  return {
    bpe: new Bpe(new Map(Object.entries(model.vocab)), model.merges, pieces == null ? 'plain' : 'bytes'),
    settings: {
      scale: processor.scale,
      vocabSize: processor.vocab_size,
      minToken: processor.min_token,
      maxToken: typeof maxToken === 'number' ? maxToken : null,
      timeHorizon: processor.time_horizon ?? null,
      actionDim: processor.action_dim ?? null,
    },
  };
}

// A merge whose tokens are missing would silently change the codes.
function requireMerges({ vocab, merges }: z.infer<typeof tokenizerSchema>['model'], path: string): void {
  const lacks = merges.findIndex(([a, b]) => [a, b, a + b].some((token) => !Object.hasOwn(vocab, token)));
  if (lacks < 0) return;
  throw new CraftError(
    'TOKENIZER_INVALID',
    `${path}: model.merges.${lacks}: ${JSON.stringify(merges[lacks])} is not in model.vocab; is the file complete?`,
  );
}

function parse<S extends z.ZodType>(schema: S, json: unknown, path: string): z.infer<S> {
  const result = schema.safeParse(json);
  if (result.success) return result.data;
  const issue = result.error.issues[0]!;
  throw new CraftError('TOKENIZER_INVALID', `${path}: ${issue.path.map(String).join('.')}: ${issue.message}`);
}

/**
 * Writes a folder that LeRobot and transformers load with `AutoProcessor.from_pretrained(folder, trust_remote_code=True)`; the
 * Python class comes from the repository `physical-intelligence/fast`, so none is written here.
 *
 * @param folder an existing folder
 * @param metadata for `metadata.json`, besides the largest coefficient
 * @throws CraftError `DISK_FULL`, `WRITE_FAILED`
 */
export function writeFastFolder(
  folder: string,
  bpe: Bpe,
  settings: FastSettings,
  metadata: PlainObject,
): void {
  const write = (name: string, value: unknown): void =>
    atomicWriteFile(join(folder, name), `${JSON.stringify(value, null, 2)}\n`);
  const processorClass = 'UniversalActionProcessor';
  const autoMap = {
    AutoProcessor: `physical-intelligence/fast--processing_action_tokenizer.${processorClass}`,
  };
  write('processor_config.json', {
    action_dim: settings.actionDim,
    auto_map: autoMap,
    min_token: settings.minToken,
    processor_class: processorClass,
    scale: settings.scale,
    time_horizon: settings.timeHorizon,
    vocab_size: settings.vocabSize,
  });
  write('tokenizer_config.json', {
    added_tokens_decoder: {},
    auto_map: autoMap,
    clean_up_tokenization_spaces: false,
    processor_class: processorClass,
    tokenizer_class: 'PreTrainedTokenizerFast',
  });
  write('special_tokens_map.json', {});
  write('metadata.json', { ...metadata, max_token: settings.maxToken });
  write('tokenizer.json', tokenizerJson(bpe));
}

/** The vocabulary in the format of Hugging Face's tokenizers. */
function tokenizerJson(bpe: Bpe): PlainObject {
  const byteLevel = (prefix: boolean, trim: boolean) => ({
    type: 'ByteLevel',
    add_prefix_space: prefix,
    trim_offsets: trim,
    use_regex: true,
  });
  const bytes = bpe.mode === 'bytes';
  return {
    version: '1.0',
    truncation: null,
    padding: null,
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: bytes ? byteLevel(false, true) : null,
    post_processor: bytes ? byteLevel(true, false) : null,
    decoder: bytes ? byteLevel(true, true) : { type: 'Fuse' },
    model: {
      type: 'BPE',
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab: Object.fromEntries(bpe.vocabulary),
      merges: bpe.merges.map((pair): Merge => [...pair]),
    },
  };
}
