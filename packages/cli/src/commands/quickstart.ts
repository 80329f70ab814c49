import { join } from 'node:path';
import { ConfigError, checkConfig, listFields } from '@craft-ft/lerobot/configs';
import { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../flags.js';
import { fieldsHelp } from '../help.js';
import type { Output } from '../main.js';

const schema = z.strictObject({
  output_dir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe('Folder for datasets, runs, videos and the page. null: a new one below outputs/quickstart/.'),
  seed: z.int().min(0).default(1000).describe('Decides everything: demonstrations, weights, tests.'),
  seeds: z.int().min(1).default(1).describe('Repeat all of it with this many seeds, from seed on.'),
});

const table: FlagTable = { fields: listFields(schema), special: [], notYet: [] };

const ABOUT =
  'Shows what fine-tuning forgets. In a simulated world, a policy learns to put a cube into the red bin, is then fine-tuned on the ' +
  'blue bin in three ways (plain, with replay, with CRaFT), and is asked for both. Takes some minutes and needs nothing but this.';

/** `craft quickstart`. */
export async function quickstartCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.out(fieldsHelp('craft quickstart', ABOUT, table, output.columns));
    return 0;
  }
  const tree = {};
  const problems = applyFlags(tree, splitFlags(argv, table), table);
  const { config, problems: more } = checkConfig(schema, tree, () => []);
  if (config === null || problems.length > 0) throw new ConfigError([...problems, ...more]);
  const { quickstart } = await import('../quickstart/quickstart.js');
  const { QUICKSTART: settings } = await import('../quickstart/settings.js');
  const { seed, seeds, output_dir: folder } = config;
  return quickstart({ settings, seed, seeds, folder: folder ?? newFolder() }, output);
}

function newFolder(): string {
  return join('outputs', 'quickstart', new Date().toISOString().slice(0, 19).replaceAll(':', '-'));
}
