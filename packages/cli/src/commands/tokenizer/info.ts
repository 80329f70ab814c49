import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, checkConfig, listFields } from '@craft-ft/lerobot/configs';
import { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../../flags.js';
import { fieldsHelp } from '../../help.js';
import type { Output } from '../../main.js';
import { table as columns } from '../dataset/tables.js';

const schema = z.strictObject({
  tokenizer: z
    .string()
    .min(1)
    .describe('A folder, a repository of the Hub or builtin:bytes; may be given as the first word.'),
  json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
});

const table: FlagTable = { fields: listFields(schema), special: [], notYet: [] };

/** `craft tokenizer info`: what a FAST or text tokeniser is. */
export const tokenizerInfo = {
  about: 'what a tokenizer is: its size, range and special tokens, and how it was trained',
  run: async (argv: readonly string[], output: Output): Promise<number> => {
    if (argv.includes('--help') || argv.includes('-h')) {
      output.out(fieldsHelp('craft tokenizer info TOKENIZER', 'What a tokenizer is.', table, output.columns));
      return 0;
    }
    const leading = argv[0]?.startsWith('--') === false;
    const tree = leading ? { tokenizer: argv[0] } : {};
    const problems = applyFlags(tree, splitFlags(argv.slice(leading ? 1 : 0), table), table);
    const checked = checkConfig(schema, tree, () => []);
    if (checked.config === null || problems.length > 0)
      throw new ConfigError([...problems, ...checked.problems]);
    const facts = await describe(checked.config.tokenizer);
    if (checked.config.json) output.out(`${JSON.stringify(facts, null, 2)}\n`);
    else
      output.out(`${columns(Object.entries(facts).map(([key, value]) => [key, text(value)])).join('\n')}\n`);
    return 0;
  },
};

async function describe(name: string): Promise<Record<string, unknown>> {
  const { fetchTokenizer, FastTokenizer, TextTokenizer, tokenizerFolder, unencodable } = await import(
    '@craft-ft/lerobot'
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
