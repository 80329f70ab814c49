import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isPlainObject, type PlainObject } from '../json.js';

/** The card of a dataset, as LeRobot writes it: tags that the Hub's search knows, and info.json. */
export function datasetCard(folder: string, repoId: string): string {
  const info = readFileSync(join(folder, 'meta', 'info.json'), 'utf8').trim();
  const front = [
    'task_categories:',
    '- robotics',
    'tags:',
    '- LeRobot',
    'configs:',
    '- config_name: default',
    '  data_files: data/*/*.parquet',
  ];
  return [
    frontMatter(front),
    `# ${repoId}`,
    'A robot dataset in the format of [LeRobot](https://github.com/huggingface/lerobot).',
    '## Structure',
    '[meta/info.json](meta/info.json):',
    fenced('json', info),
    '',
  ].join('\n\n');
}

/**
 * The card of a policy: its type, the dataset and settings of its training as far as the folder tells (`train_config.json`), and,
 * where it was trained with CRaFT, CRaFT's settings (`craft_config.json`).
 */
export function policyCard(folder: string, repoId: string): string {
  const config = readObject(folder, 'config.json') ?? {};
  const train = readObject(folder, 'train_config.json');
  const craft = readObject(folder, 'craft_config.json');
  const type = typeof config.type === 'string' ? config.type : 'policy';
  const dataset = isPlainObject(train?.dataset) ? train.dataset.repo_id : undefined;
  const tags = new Set(['lerobot', 'robotics', type, ...(craft?.enabled === true ? ['craft'] : [])]);
  for (const tag of Array.isArray(config.tags) ? config.tags : []) tags.add(String(tag));
  const front = ['library_name: lerobot', 'pipeline_tag: robotics', `model_name: ${quoted(type)}`];
  if (typeof config.license === 'string') front.push(`license: ${quoted(config.license)}`);
  if (typeof dataset === 'string') front.push('datasets:', `- ${quoted(dataset)}`);
  front.push('tags:', ...[...tags].sort().map((tag) => `- ${quoted(tag)}`));
  const parts = [
    frontMatter(front),
    `# ${repoId}`,
    `A robot policy of type \`${type}\` in the format of [LeRobot](https://github.com/huggingface/lerobot).`,
  ];
  const training = settings(train ?? {}, ['steps', 'batch_size', 'seed']);
  if (typeof dataset === 'string') training.unshift(['dataset', dataset]);
  if (training.length > 0) parts.push('## Training', table(training));
  if (craft !== undefined) {
    parts.push(
      '## CRaFT',
      'Constrained retention fine-tuning, with these settings:',
      table(Object.entries(craft)),
    );
  }
  parts.push('## Use', fenced('sh', `craft train --policy.path=${repoId} --dataset.repo_id=user/name`), '');
  return parts.join('\n\n');
}

/** The card of a FAST tokenizer: its settings (`processor_config.json`) and what it was trained on (`metadata.json`). */
export function tokenizerCard(folder: string, repoId: string): string {
  const config = readObject(folder, 'processor_config.json') ?? {};
  const trained = readObject(folder, 'metadata.json') ?? {};
  const dataset = trained.repo_id;
  const front = ['library_name: lerobot', 'tags:', '- FAST', '- lerobot', '- robotics', '- tokenizer'];
  if (typeof dataset === 'string') front.push('datasets:', `- ${quoted(dataset)}`);
  const rows = [
    ...settings(config, ['vocab_size', 'scale', 'min_token', 'time_horizon', 'action_dim']),
    ...settings(trained, [
      'repo_id',
      'action_horizon',
      'normalization_mode',
      'delta_dims',
      'num_training_chunks',
    ]),
  ];
  return [
    frontMatter(front),
    `# ${repoId}`,
    'A FAST tokenizer of robot actions in the format of [LeRobot](https://github.com/huggingface/lerobot).',
    table(rows),
    '## Use',
    fenced('sh', `craft train --policy.type=pi0_fast --policy.action_tokenizer_name=${repoId}`),
    '',
  ].join('\n\n');
}

function readObject(folder: string, name: string): PlainObject | undefined {
  const path = join(folder, name);
  if (!existsSync(path)) return undefined;
  const value: unknown = JSON.parse(readFileSync(path, 'utf8'));
  return isPlainObject(value) ? value : undefined;
}

function settings(from: PlainObject, names: readonly string[]): [string, unknown][] {
  return names.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]);
}

function frontMatter(lines: readonly string[]): string {
  return ['---', ...lines, '---'].join('\n');
}

/** A text as a YAML scalar; JSON's strings are YAML's. */
function quoted(text: string): string {
  return /^[A-Za-z][\w./-]*$/.test(text) && !/^(yes|no|on|off|true|false|null)$/i.test(text)
    ? text
    : JSON.stringify(text);
}

function fenced(language: string, text: string): string {
  return `\`\`\`${language}\n${text}\n\`\`\``;
}

function table(rows: readonly (readonly [string, unknown])[]): string {
  const cell = (value: unknown): string =>
    (typeof value === 'string' ? value : JSON.stringify(value)).replaceAll('|', '\\|').replaceAll('\n', ' ');
  const lines = rows.map(([name, value]) => `| ${name} | ${cell(value)} |`);
  return ['| setting | value |', '| --- | --- |', ...lines].join('\n');
}
