import { ConfigError, checkConfig, listFields, type Problem } from '@craft-ft/policies/config';
import type { z } from 'zod';
import type { Command, Output, Subcommand } from './command.js';
import { applyFlags, type FlagTable, splitFlags } from './flags.js';
import { fieldsHelp } from './help.js';
import { takesPolicy, withLocalPolicy } from './policy-path.js';

/** A command, by its fields. */
export interface CommandSpec<T> {
  /** As it is called: `world view`. */
  readonly name: string;
  /** What `--help` says about it. */
  readonly about: string;
  readonly schema: z.ZodType<T>;
  /** The field that words before the first flag are for, all of them where it is a list; and what the usage calls them. */
  readonly leading?: { readonly field: string; readonly usage: string };
  /** Fields whose lists may be written a,b as well as [a,b]. */
  readonly lists?: readonly string[];
  /** Rules between fields. */
  readonly validate?: (config: T) => Problem[];
  /** Resolves to the exit code. */
  readonly run: (config: T, output: Output) => Promise<number>;
}

/**
 * A command made of its fields: flags, help, checks, and what it does with the configuration. Policies of the Hub are brought first,
 * where there is a flag for one.
 *
 * The command throws `UsageError` for what is no flag, `ConfigError` with everything that is wrong with the fields.
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

/** {@link commandOf} for a group of commands, whose overview says the same of it as its help. */
export function subcommandOf<T>(spec: CommandSpec<T>): Subcommand {
  return { about: spec.about, run: commandOf(spec) };
}

/** Groups that must be given, so that what is missing is named as a field of theirs. */
function emptyGroups({ fields }: FlagTable): Record<string, object> {
  const required = fields.filter(
    ({ kind, path, default: value }) => kind === 'group' && value === null && !path.includes('.'),
  );
  return Object.fromEntries(required.map(({ path }) => [path, {}]));
}

/** Puts the words before the first flag into the tree, and gives the others; one too many is refused as no flag. */
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
