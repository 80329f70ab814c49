import { ConfigError, checkConfig, listFields, type Problem } from '@craft-ft/lerobot/configs';
import type { z } from 'zod';
import { applyFlags, type FlagTable, splitFlags } from '../../flags.js';
import { fieldsHelp } from '../../help.js';
import type { Output } from '../../main.js';
import { withLocalPolicy } from '../../policy-path.js';
import type { Subcommand } from '../../subcommands.js';

interface Spec<T> {
  readonly name: string;
  readonly about: string;
  readonly schema: z.ZodType<T>;
  /** The field that a first word without a flag is for. */
  readonly leading: string | null;
  /** Fields whose lists may be written a,b as well as [a,b]. */
  readonly lists?: readonly string[];
  readonly validate?: (config: T) => Problem[];
  readonly run: (config: T, output: Output) => Promise<number>;
}

/** A command made of its fields: flags, help, checks, and what it does with the configuration. */
export function anchorsCommandOf<T>(spec: Spec<T>): Subcommand {
  const table: FlagTable = { fields: listFields(spec.schema), special: [], notYet: [] };
  const { leading, lists = [] } = spec;
  return {
    about: spec.about,
    run: async (argv, output) => {
      if (argv.includes('--help') || argv.includes('-h')) {
        const usage = `craft anchors ${spec.name}${leading === null ? '' : ' FOLDER'}`;
        output.out(fieldsHelp(usage, spec.about, table, output.columns));
        return 0;
      }
      const tree: Record<string, unknown> = {};
      let words = argv.map((word) => bracketed(word, lists));
      if (leading !== null && words.length > 0 && !words[0]!.startsWith('--')) {
        tree[leading] = words[0];
        words = words.slice(1);
      }
      const flags = splitFlags(await withLocalPolicy(words, output), table);
      const problems = applyFlags(tree, flags, table);
      const checked = checkConfig(spec.schema, tree, spec.validate ?? (() => []));
      if (checked.config === null || problems.length > 0)
        throw new ConfigError([...problems, ...checked.problems]);
      return spec.run(checked.config, output);
    },
  };
}

function bracketed(word: string, lists: readonly string[]): string {
  const [, name, value] = /^--([\w.]+)=([^[].*)$/.exec(word) ?? [];
  return name !== undefined && lists.includes(name) && value !== 'null' ? `--${name}=[${value}]` : word;
}
