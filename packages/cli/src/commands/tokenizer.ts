import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CompressionStats, FastTokenizer } from '@craft-ft/policies';
import { normalizationModeSchema, type Problem } from '@craft-ft/policies/config';
import { refuseUsedFolder } from '@craft-ft/training/config';
import { z } from 'zod';
import { type Output, subcommands } from '../command.js';
import { commandOf } from '../command-of.js';
import { Progress } from '../progress.js';
import { round, table, validateSource } from './dataset-fields.js';
import { upload } from './push.js';

const ABOUT =
  'Train a FAST action tokenizer on the actions of a dataset. Give the folder as --policy.action_tokenizer_name to ' +
  'craft train --policy.type=pi0_fast.';

const schema = z.strictObject({
  repo_id: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Name of the dataset, as user/name; fetched from the Hub where no root is given.'),
  root: z.string().min(1).nullable().default(null).describe('Folder of the dataset.'),
  action_horizon: z
    .int()
    .min(1)
    .default(10)
    .describe("Actions per chunk. Take the policy's chunk_size (50 unless set)."),
  episodes: z
    .array(z.int().min(0))
    .min(1)
    .nullable()
    .default(null)
    .describe('Of these episodes only; only their files need to be here. null: all.'),
  max_episodes: z.int().min(1).nullable().default(null).describe('The first of them only. null: all.'),
  sample_fraction: z
    .number()
    .gt(0)
    .max(1)
    .default(0.1)
    .describe("Share of each episode's chunks to train on."),
  encoded_dims: z
    .string()
    .regex(/^\s*\d+:\d+(\s*,\s*\d+:\d+)*\s*$/)
    .nullable()
    .default(null)
    .meta({
      description:
        'Ranges of action dimensions, such as 0:6,7:23. null: all, which is what the policy encodes.',
      typeText: 'from:to,... or null',
    }),
  delta_dims: z
    .string()
    .regex(/^\s*\d+(\s*,\s*\d+)*\s*$/)
    .nullable()
    .default(null)
    .meta({
      description: 'Dimensions that become relative to the state, such as 0,1,2; with use_delta_transform.',
      typeText: 'number,... or null',
    }),
  use_delta_transform: z
    .boolean()
    .default(false)
    .describe('Train on actions relative to the state, as policy.use_relative_actions gives them.'),
  state_key: z.string().min(1).default('observation.state').describe('Key of the state.'),
  normalization_mode: normalizationModeSchema
    .default('QUANTILES')
    .describe("As the policy's normalization_mapping has it for ACTION."),
  clip: z
    .boolean()
    .default(true)
    .describe(
      'With quantiles, train on values cut to [-1, 1] as LeRobot does: outliers, which the policy does see, are then encoded ' +
        'as far as the range goes. false: outliers widen the range.',
    ),
  vocab_size: z.int().min(2).default(1024).describe('Tokens of the vocabulary.'),
  scale: z
    .number()
    .gt(0)
    .default(10)
    .describe('Factor before rounding: larger is finer, and takes more tokens.'),
  output_dir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder for the tokenizer. null: fast_tokenizer_ and the name of the dataset.'),
  push_to_hub: z.boolean().default(false).describe('Upload it to the Hugging Face Hub afterwards.'),
  hub_repo_id: z.string().min(1).nullable().default(null).describe('Where to, as user/name.'),
  hub_private: z.boolean().default(false).describe('Make a repository that is created private.'),
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
});
type Config = z.infer<typeof schema>;

function validate(config: Config): Problem[] {
  const problems = validateSource(config);
  const refuse = (field: keyof Config, message: string): void => {
    problems.push({ field, found: config[field], message });
  };
  if (config.use_delta_transform && config.delta_dims === null)
    refuse('use_delta_transform', 'expected delta_dims too: without it nothing is relative');
  if (!config.use_delta_transform && config.delta_dims !== null)
    refuse('delta_dims', 'expected use_delta_transform=true too: without it nothing is relative');
  if (config.push_to_hub && config.hub_repo_id === null)
    refuse('hub_repo_id', 'expected the name to upload it under, as user/name');
  return problems;
}

/** `craft tokenizer train`: LeRobot's `lerobot-train-tokenizer`. */
export const tokenizerTrain = {
  about: 'train a FAST action tokenizer on a dataset',
  run: commandOf({ name: 'tokenizer train', about: ABOUT, schema, validate, run: train }),
};

async function train(config: Config, output: Output): Promise<number> {
  const folder = outputFolder(config);
  const { compressionStats, datasetChunks, FastTokenizer } = await import('@craft-ft/policies');
  const { datasetFolder, fetchDataset } = await import('@craft-ft/training');
  const say = (line: string): void => (config.json ? output.err : output.out)(`${line}\n`);
  const choice = {
    repo_id: config.repo_id ?? '',
    root: config.root,
    episodes: config.episodes,
    exclude_episodes: null,
    revision: null,
  };
  await fetchDataset(choice, [], say, (line) => output.err(`craft: warning: ${line}\n`));
  const set = await datasetChunks({
    root: datasetFolder(choice),
    actionHorizon: config.action_horizon,
    episodes: config.episodes,
    maxEpisodes: config.max_episodes,
    sampleFraction: config.sample_fraction,
    encodedDims: ranges(config.encoded_dims),
    deltaDims: config.use_delta_transform ? config.delta_dims!.split(',').map(Number) : null,
    stateKey: config.state_key,
    mode: config.normalization_mode,
  });
  const [steps, width] = set.shape;
  say(
    `${set.chunks.length} chunks of ${steps} actions with ${width} dimensions, from ${set.episodes} episodes`,
  );
  const clips = config.clip && config.normalization_mode.startsWith('QUANTILE');
  const seen = clips ? set.chunks.map((chunk) => chunk.map((x) => Math.min(1, Math.max(-1, x)))) : set.chunks;
  const progress = new Progress(output);
  progress.begin('tokens', config.vocab_size);
  let tokenizer: FastTokenizer;
  try {
    tokenizer = FastTokenizer.fit(seen, set.shape, {
      vocabSize: config.vocab_size,
      scale: config.scale,
      onProgress: (size) => progress.update(size),
    });
  } finally {
    progress.stop();
  }
  const compression = compressionStats(tokenizer, set.chunks, set.shape);
  const { makeFolder } = await import('@craft-ft/torch');
  makeFolder(folder);
  tokenizer.save(folder, metadata(config, set.chunks.length, width, compression));
  if (config.json) {
    const { settings, vocabSize } = tokenizer;
    output.out(`${JSON.stringify({ output_dir: folder, tokens: vocabSize, ...settings, ...compression })}\n`);
  } else {
    output.out(`${summary(tokenizer, compression).join('\n')}\n`);
    if (tokenizer.vocabSize < config.vocab_size)
      output.out(`no further pair occurs twice: the vocabulary ends at ${tokenizer.vocabSize} tokens\n`);
    output.out(`saved in ${folder}: use it with --policy.action_tokenizer_name=${folder}\n`);
  }
  if (config.push_to_hub) {
    const { hub_repo_id: repoId, hub_private: hidden } = config;
    say(await upload({ folder, repoId: repoId!, type: 'tokenizer', private: hidden }, output));
  }
  return 0;
}

function outputFolder({ output_dir, repo_id, root }: Config): string {
  const name =
    repo_id ??
    root!
      .replace(/[\\/]+$/, '')
      .split(/[\\/]/)
      .at(-1)!;
  const folder = output_dir ?? `fast_tokenizer_${name.replaceAll('/', '_')}`;
  refuseUsedFolder(folder);
  return folder;
}

function ranges(text: string | null): [number, number][] | null {
  if (text === null) return null;
  return text.split(',').map((range) => range.split(':').map(Number) as [number, number]);
}

/** The metadata that LeRobot's script writes next to the tokeniser. */
function metadata(config: Config, chunks: number, width: number, compression: CompressionStats) {
  return {
    repo_id: config.repo_id,
    vocab_size: config.vocab_size,
    scale: config.scale,
    encoded_dims: config.encoded_dims,
    total_encoded_dims: width,
    delta_dims: config.delta_dims,
    use_delta_transform: config.use_delta_transform,
    state_key: config.state_key,
    normalization_mode: config.normalization_mode,
    clip: config.clip,
    action_horizon: config.action_horizon,
    num_training_chunks: chunks,
    compression_stats: compression,
  };
}

function summary(tokenizer: FastTokenizer, stats: CompressionStats): string[] {
  const { minToken, maxToken } = tokenizer.settings;
  return [
    `${tokenizer.vocabSize} tokens, ${tokenizer.bpe.merges.length} of them merges; coefficients from ${minToken} to ${maxToken}`,
    `tokens per chunk: ${round(stats.mean_token_length)} on average, 99 % at most ${round(stats.p99_token_length)}, ` +
      `${stats.min_token_length} to ${stats.max_token_length}; ${stats.compression_ratio.toFixed(1)} numbers per token`,
    `reconstruction: root mean square error ${stats.reconstruction_rmse.toFixed(4)}, largest ` +
      `${stats.reconstruction_max_error.toFixed(4)} (normalised actions, not cut)`,
  ];
}

const infoSchema = z.strictObject({
  tokenizer: z
    .string()
    .min(1)
    .describe('A folder, a repository of the Hub or builtin:bytes; may be given as the first word.'),
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
});

/** `craft tokenizer info`: describes a FAST or text tokeniser. */
const tokenizerInfo = {
  about: 'what a tokenizer is: its size, range and special tokens, and how it was trained',
  run: commandOf({
    name: 'tokenizer info',
    about: 'What a tokenizer is.',
    schema: infoSchema,
    leading: { field: 'tokenizer', usage: 'TOKENIZER' },
    run: async ({ tokenizer, json }, output) => {
      const facts = await describe(tokenizer);
      const rows = Object.entries(facts).map(([key, value]) => [key, text(value)]);
      output.out(`${json ? JSON.stringify(facts, null, 2) : table(rows).join('\n')}\n`);
      return 0;
    },
  }),
};

async function describe(name: string): Promise<Record<string, unknown>> {
  const { fetchTokenizer, FastTokenizer, TextTokenizer, tokenizerFolder, unencodable } = await import(
    '@craft-ft/policies'
  );
  await fetchTokenizer(name);
  const folder = name.startsWith('builtin:') ? null : tokenizerFolder(name);
  if (folder === null || !existsSync(join(folder, 'processor_config.json'))) {
    const { vocabSize, bosId, eosId, padId, unkId } = TextTokenizer.loadSync(name);
    return {
      tokenizer: name,
      kind: 'text',
      tokens: vocabSize,
      bos: bosId,
      eos: eosId,
      pad: padId,
      unk: unkId,
    };
  }
  const { vocabSize, bpe, settings } = FastTokenizer.loadSync(name);
  const { minToken, maxToken } = settings;
  const range =
    maxToken === null
      ? {}
      : { encodable: missing(unencodable(FastTokenizer.loadSync(name), minToken, maxToken)) };
  return {
    tokenizer: name,
    kind: 'FAST',
    tokens: vocabSize,
    merges: bpe.merges.length,
    scale: settings.scale,
    coefficients: `${minToken} to ${maxToken ?? 'not known'}`,
    ...range,
    time_horizon: settings.timeHorizon,
    action_dim: settings.actionDim,
    ...savedMetadata(folder),
  };
}

function missing(values: readonly number[]): string {
  return values.length === 0 ? 'all' : `all but ${values.join(', ')}`;
}

function savedMetadata(folder: string): Record<string, unknown> {
  const path = join(folder, 'metadata.json');
  if (!existsSync(path)) return {};
  const {
    max_token: _,
    vocab_size: asked,
    ...rest
  } = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  return { ...(asked === undefined ? {} : { vocab_size: asked }), ...rest };
}

function text(value: unknown): string {
  return typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '-');
}

/** `craft tokenizer`: trains FAST action tokenisers on datasets, and describes existing ones. */
export const tokenizerCommand = subcommands('tokenizer', { train: tokenizerTrain, info: tokenizerInfo });
