import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import { commandOf } from '../../command-of.js';
import { table as columns } from '../dataset/tables.js';

const schema = z.strictObject({
  tokenizer: z
    .string()
    .min(1)
    .describe('A folder, a repository of the Hub or builtin:bytes; may be given as the first word.'),
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
});

/** `craft tokenizer info`: what a FAST or text tokeniser is. */
export const tokenizerInfo = {
  about: 'what a tokenizer is: its size, range and special tokens, and how it was trained',
  run: commandOf({
    name: 'tokenizer info',
    about: 'What a tokenizer is.',
    schema,
    leading: { field: 'tokenizer', usage: 'TOKENIZER' },
    run: async ({ tokenizer, json }, output) => {
      const facts = await describe(tokenizer);
      const rows = Object.entries(facts).map(([key, value]) => [key, text(value)]);
      output.out(`${json ? JSON.stringify(facts, null, 2) : columns(rows).join('\n')}\n`);
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
    ...metadata(folder),
  };
}

function missing(values: readonly number[]): string {
  return values.length === 0 ? 'all' : `all but ${values.join(', ')}`;
}

function metadata(folder: string): Record<string, unknown> {
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
