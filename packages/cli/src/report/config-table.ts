import { fold, table } from './blocks.js';
import { type Html, html } from './html.js';

/** A configuration by dotted names, one level of groups deep: `craft.lambda_max`. Deeper values stay as they are. */
export function flattenConfig(config: unknown): Map<string, unknown> {
  const flat = new Map<string, unknown>();
  for (const [name, value] of Object.entries(config ?? {})) {
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
      for (const [field, inner] of Object.entries(value)) flat.set(`${name}.${field}`, inner);
    } else flat.set(name, value);
  }
  return flat;
}

/** A configuration beside the name of its run. */
export interface NamedConfig {
  name: string;
  config: ReadonlyMap<string, unknown>;
}

/** Where a run is written is another one for each, and says nothing about it. */
const OWN = new Set(['output_dir', 'job_name']);

/** Configurations as tables, one per group; with several runs, what differs comes first and is marked. */
export function configTables(configs: readonly NamedConfig[]): Html {
  const names = [...new Set(configs.flatMap(({ config }) => [...config.keys()]))];
  const rows = names.map((name) => {
    const values = configs.map(({ config }) => show(config.get(name)));
    return { name, values, differs: new Set(values).size > 1 && !OWN.has(name) };
  });
  const columns = ['field', ...(configs.length === 1 ? ['value'] : configs.map(({ name }) => name))];
  const asTable = (chosen: typeof rows, mark: boolean) =>
    table(
      columns,
      chosen.map(({ name, values, differs }) => ({ cells: [name, ...values], differs: mark && differs })),
      'text',
    );
  const different = rows.filter(({ differs }) => differs);
  const groupOf = (name: string) => (name.includes('.') ? name.split('.')[0]! : 'run');
  const groups = [...new Set(names.map(groupOf))].sort((a, b) => rank(a) - rank(b));
  return html`${configs.length > 1 && (different.length > 0 ? asTable(different, false) : html`<p>All fields are the same.</p>`)}
${groups.map((group) => {
  const members = rows.filter(({ name }) => groupOf(name) === group);
  const open = configs.length === 1 && group === 'craft';
  return fold(group, `${members.length} fields`, asTable(members, configs.length > 1), open);
})}`;
}

const FIRST = ['craft', 'run', 'dataset', 'policy', 'optimizer', 'scheduler'];

function rank(group: string): number {
  const place = FIRST.indexOf(group);
  return place < 0 ? FIRST.length : place;
}

function show(value: unknown): string {
  if (value === undefined) return '–';
  return typeof value === 'string' ? value : JSON.stringify(value);
}
