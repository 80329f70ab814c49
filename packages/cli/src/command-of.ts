import { ConfigError, checkConfig, listFields, type Problem } from '@craft-ft/policies/config';
import type { z } from 'zod';
import type { Command, Output, Subcommand } from './command.js';
import { applyFlags, type FlagTable, splitFlags } from './flags.js';
import { fieldsHelp } from './help.js';
import { takesPolicy, withLocalPolicy } from './policy-path.js';

/** Definition of a command. */
interface CommandSpec<T> {
  /** Name as typed: `world view`. */
  readonly name: string;
  /** Description shown by `--help`. */
  readonly about: string;
  readonly schema: z.ZodType<T>;
  /** The field set by the words before the first flag (all of them if it is a list), and its name in the usage line. */
  readonly leading?: { readonly field: string; readonly usage: string };
  /** List fields that may be written a,b as well as [a,b]. */
  readonly lists?: readonly string[];
  /** Rules across fields. */
  readonly validate?: (config: T) => Problem[];
  /** Resolves to the exit code. */
  readonly run: (config: T, output: Output) => Promise<number>;
}

/**
 * Builds a command from its fields: flags, help, validation, and the action itself. If a flag names a policy on the Hub, that policy is
 * downloaded first.
 *
 * The command throws `UsageError` for an unknown flag and `ConfigError` with everything that is wrong with the fields.
 */
export function commandOf<T>(spec: CommandSpec<T>): Command {
  const table: FlagTable = { fields: listFields(spec.schema), special: [], notYet: [] };
  const { leading, lists = [] } = spec;
  return async (argv, output) => {
    if (argv.includes('--help') || argv.includes('-h')) {
      const usage = ['craft', spec.name, ...(leading === undefined ? [] : [leading.usage])].join(' ');
      output.out(fieldsHelp(usage, spec.about, table, output.columns));
      return 0;
    }
    const tree: Record<string, unknown> = emptyGroups(table);
    let words = argv.map((word) => bracketed(word, lists));
    if (leading !== undefined) words = takeLeading(words, leading.field, tree, table);
    if (takesPolicy(table)) words = await withLocalPolicy(words, output);
    const problems = applyFlags(tree, splitFlags(words, table), table);
    const checked = checkConfig(spec.schema, tree, spec.validate);
    if (checked.config === null || problems.length > 0)
      throw new ConfigError([...problems, ...checked.problems]);
    return spec.run(checked.config, output);
  };
}

/** {@link commandOf} for a subcommand; the group's overview shows the description from its help. */
export function subcommandOf<T>(spec: CommandSpec<T>): Subcommand {
  return { about: spec.about, run: commandOf(spec) };
}

/** Groups that must be present, so that a missing field is reported under its own name. */
function emptyGroups({ fields }: FlagTable): Record<string, object> {
  const required = fields.filter(
    ({ kind, path, default: value }) => kind === 'group' && value === null && !path.includes('.'),
  );
  return Object.fromEntries(required.map(({ path }) => [path, {}]));
}

/** Puts the words before the first flag into the tree and returns the rest; a surplus word is rejected as an unknown flag. */
function takeLeading(
  words: string[],
  field: string,
  tree: Record<string, unknown>,
  table: FlagTable,
): string[] {
  const first = words.findIndex((word) => word.startsWith('--'));
  const count = first === -1 ? words.length : first;
  if (count === 0) return words;
  const several = table.fields.find(({ path }) => path === field)?.schema.type === 'array';
  tree[field] = several ? words.slice(0, count) : words[0];
  return words.slice(several ? count : 1);
}

function bracketed(word: string, lists: readonly string[]): string {
  const [, name, value] = /^--([\w.]+)=([^[].*)$/.exec(word) ?? [];
  return name !== undefined && lists.includes(name) && value !== 'null' ? `--${name}=[${value}]` : word;
}
