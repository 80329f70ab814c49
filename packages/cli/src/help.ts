import type { FieldSpec } from '@craft-ft/policies/config';
import type { FlagTable } from './flags.js';

const INTRO = [
  'Usage: craft train --policy.type=act --dataset.repo_id=NAME [--dataset.root=FOLDER] [--FLAG=VALUE ...]',
  '       craft train --policy.path=FOLDER --dataset.repo_id=NAME --craft.enabled=true --craft.anchor_dataset_path=FOLDER',
  '       craft train --resume RUN_DIR',
  '',
  'Trains a policy on a LeRobot dataset, with or without constrained retention (craft.*). Flags are those of ' +
    'lerobot-train. Lists are written [1,2], dicts as JSON; a whole group can be given as JSON too: --craft=\'{"enabled": true}\'.',
];

const NOT_YET_TITLE = 'LeRobot flags without effect here: accepted with the values shown, otherwise refused';

/**
 * The text of `craft train --help`: every flag by group, with type, default and description, from the schemas.
 *
 * @param width columns to fill at most.
 */
export function trainHelp(table: FlagTable, width = 80): string {
  const lines = INTRO.flatMap((line) => wrap(line, width, /^Usage|^ {7}/.test(line) ? 11 : 0));
  const specials = table.special.map(({ name, type, description }) => entry(name, type, description, width));
  lines.push('', 'Files', ...specials.flat(), ...fieldLines(table, width));
  lines.push('', ...wrap(NOT_YET_TITLE, width, 2));
  for (const { flag, off, reason, keep } of table.notYet) {
    if (keep) continue;
    const values =
      off === 'any' ? 'any value' : [...off, null].map((value) => JSON.stringify(value)).join(' or ');
    lines.push(...entry(flag, values, reason, width));
  }
  return `${lines.join('\n')}\n`;
}

/** Help of a command that consists of fields only: usage, one sentence, and every flag. */
export function fieldsHelp(command: string, about: string, table: FlagTable, width = 80): string {
  const usage = `Usage: ${command} [--FLAG=VALUE ...]`;
  return `${[usage, '', ...wrap(about, width, 0), ...fieldLines(table, width)].join('\n')}\n`;
}

function fieldLines(table: FlagTable, width: number): string[] {
  return [...sections(table.fields)].flatMap(([title, fields]) =>
    fields.length === 0
      ? []
      : ['', ...wrap(title, width, 2), ...fields.flatMap((field) => fieldEntry(field, width))],
  );
}

/** Fields under their headings, in order: the top level, then one section per group and per choice of a group. */
function sections(fields: FieldSpec[]): Map<string, FieldSpec[]> {
  const groups = new Map(fields.filter(({ kind }) => kind === 'group').map((group) => [group.path, group]));
  const result = new Map<string, FieldSpec[]>([['Run', []]]);
  for (const field of fields) {
    if (field.kind === 'group') continue;
    const group = field.path.split('.').slice(0, -1).join('.');
    const title = field.variant === null ? group : `${group}, with --${group}.type=${field.variant.type}`;
    const about = field.variant === null ? groups.get(group)?.description : '';
    const heading = group === '' ? 'Run' : about ? `${title}: ${about}` : title;
    result.set(heading, [...(result.get(heading) ?? []), field]);
  }
  return result;
}

function fieldEntry(field: FieldSpec, width: number): string[] {
  const given = field.default === null ? 'required' : `default: ${field.default}`;
  return entry(field.path, `${field.type} (${given})`, field.description, width);
}

function entry(name: string, type: string, description: string, width: number): string[] {
  return [...wrap(`  --${name}  ${type}`, width, 6), ...wrap(`      ${description}`, width, 6)];
}

/** Wraps a line at spaces and indents the continuation lines. Words longer than a line stay whole. */
export function wrap(line: string, width: number, indent: number): string[] {
  const lines: string[] = [];
  let rest = line;
  while (rest.length > width) {
    const first = rest.search(/\S/);
    let cut = rest.lastIndexOf(' ', width);
    if (cut <= first) cut = rest.indexOf(' ', Math.max(first, width));
    if (cut < 0) break;
    lines.push(rest.slice(0, cut).trimEnd());
    rest = ' '.repeat(indent) + rest.slice(cut + 1).trimStart();
  }
  return [...lines, rest];
}
