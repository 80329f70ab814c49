import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';
import { CraftError } from '@craft-ft/torch/errors';
import type { CommitOperation } from '@huggingface/hub';
import { LeRobotDatasetMetadata } from '../dataset/metadata.js';
import { isPlainObject, type PlainObject } from '../json.js';
import { findPolicyDir } from '../policy-folder.js';
import { neededFiles } from './download-dataset.js';
import { tokenPage } from './environment.js';
import { HubStatusError } from './errors.js';
import { lookUp } from './remote.js';
import {
  asking,
  authorization,
  clientParams,
  type HubOptions,
  type HubSession,
  openSession,
} from './session.js';

export interface PushOptions extends HubOptions {
  /** A dataset's folder; a policy's, a checkpoint's or a run's; or a FAST tokenizer's. */
  folder: string;
  /** `user/name`; created if it does not exist. A tokenizer goes into a model repository. */
  repoId: string;
  type: 'dataset' | 'model' | 'tokenizer';
  /** Visibility of a newly created repository. Default: the owner's setting, usually public. */
  private?: boolean;
  /** Title of the commit. Default: `Upload dataset`, `Upload policy` or `Upload tokenizer`. */
  message?: string;
  /** Branch to commit to; created if it does not exist. Default: main. */
  revision?: string;
  /** Tag to set on the commit, moved if it exists. Default for datasets: their version (`v3.0`), by which LeRobot finds them. */
  tag?: string;
  onProgress?: (progress: PushProgress) => void;
  /** Receives one-line warnings. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/** Progress of an upload. */
export interface PushProgress {
  phase: 'hashing' | 'uploading' | 'committing';
  /** Path within the repository; empty while committing. */
  file: string;
  /** Fraction of that file, 0 to 1. */
  fraction: number;
}

export interface PushResult {
  /** The repository's page. */
  url: string;
  commit: string;
  tag: string | null;
  /** Paths uploaded, a generated README.md included. */
  files: string[];
}

/**
 * Uploads a dataset, a policy or a FAST tokenizer as one commit. Hidden files, unfinished ones and a recording's temporary `images/` are
 * skipped. A README.md is written if neither the folder nor the repository has one.
 *
 * @throws CraftError `HUB_TOKEN`, `HUB_UNREACHABLE`, `HUB_REFUSED`, `HUB_REPO_ID`, `HUB_OFFLINE`, `DATASET_FILE_MISSING` for a
 * dataset whose data is not complete, `POLICY_NOT_FOUND`, `TOKENIZER_NOT_FOUND`, and as {@link LeRobotDatasetMetadata.load}.
 *
 * @example
 * ```ts
 * await pushFolder({ folder: 'outputs/train/run', repoId: 'user/act_pick', type: 'model', private: true });
 * ```
 */
export async function pushFolder(options: PushOptions): Promise<PushResult> {
  const { repoId, type, revision = 'main' } = options;
  const session = openSession(repoId, type === 'dataset' ? 'dataset' : 'model', options);
  if (session.offline) {
    throw new CraftError(
      'HUB_OFFLINE',
      `${repoId}: cannot be uploaded while HF_HUB_OFFLINE is set; unset it`,
    );
  }
  if (session.token === undefined) {
    throw new CraftError(
      'HUB_TOKEN',
      `${repoId}: uploading takes a token; set HF_TOKEN to one with write permission from ${tokenPage}`,
    );
  }
  const folder = sourceFolder(options);
  const version = type === 'dataset' ? await checkDataset(folder, options) : null;
  const operations = filesToPush(folder, type).map(
    (path): CommitOperation => ({
      operation: 'addOrUpdate',
      path,
      content: pathToFileURL(join(folder, ...path.split('/'))),
    }),
  );
  await asking(session, () => makeRepo(session, session.token!, options));
  if (!operations.some(({ path }) => path === 'README.md') && !(await hasCard(session, revision))) {
    const card = CARDS[type](folder, repoId);
    operations.push({ operation: 'addOrUpdate', path: 'README.md', content: new Blob([card]) });
  }
  const commit = await asking(session, () => upload(session, operations, revision, options));
  const tag = options.tag ?? version;
  if (tag !== null) await asking(session, () => setTag(session, tag, commit));
  return {
    url: `${session.hubUrl}/${type === 'dataset' ? 'datasets/' : ''}${repoId}`,
    commit,
    tag,
    files: operations.map(({ path }) => path).sort(),
  };
}

const CARDS = { dataset: datasetCard, model: policyCard, tokenizer: tokenizerCard };
const TITLES = { dataset: 'Upload dataset', model: 'Upload policy', tokenizer: 'Upload tokenizer' };

function sourceFolder({ folder, type }: PushOptions): string {
  const given = resolve(folder);
  if (type === 'model') return findPolicyDir(given);
  if (type === 'dataset') return given;
  const missing = ['tokenizer.json', 'processor_config.json'].find((name) => !existsSync(join(given, name)));
  if (missing === undefined) return given;
  throw new CraftError(
    'TOKENIZER_NOT_FOUND',
    `${join(given, missing)}: no such file; expected a folder that craft tokenizer train wrote`,
  );
}

/** @returns the tag by which LeRobot finds the dataset. */
async function checkDataset(folder: string, options: PushOptions): Promise<string> {
  const warn = options.onWarning ?? ((message: string) => console.warn(message));
  const metadata = await LeRobotDatasetMetadata.load(folder, { onWarning: warn });
  const { data, videos } = neededFiles(metadata, {});
  const isAbsent = (path: string): boolean =>
    statSync(join(folder, path), { throwIfNoEntry: false }) === undefined;
  const missing = data.find(isAbsent);
  if (missing !== undefined) {
    throw new CraftError(
      'DATASET_FILE_MISSING',
      `${join(folder, missing)}: the file is missing; only a whole dataset can be uploaded`,
    );
  }
  const unseen = videos.filter(isAbsent);
  if (unseen.length > 0) {
    warn(
      `${folder}: ${unseen.length} of ${videos.length} videos are missing, such as ${unseen[0]}; uploaded without`,
    );
  }
  return `v${metadata.version}`;
}

function filesToPush(folder: string, type: PushOptions['type']): string[] {
  const files: string[] = [];
  const walk = (inside: string): void => {
    for (const entry of readdirSync(join(folder, inside), { withFileTypes: true })) {
      const path = inside === '' ? entry.name : `${inside}/${entry.name}`;
      if (entry.name.startsWith('.') || /\.(incomplete|tmp)$/.test(entry.name)) continue;
      if (type === 'dataset' && path === 'images') continue;
      if (entry.isDirectory()) walk(path);
      else if (statSync(join(folder, path), { throwIfNoEntry: false })?.isFile()) files.push(path);
    }
  };
  walk('');
  return files.sort();
}

async function makeRepo(session: HubSession, accessToken: string, options: PushOptions): Promise<void> {
  const { createRepo, createBranch } = await import('@huggingface/hub');
  const { revision = 'main' } = options;
  const visibility =
    options.private === undefined
      ? {}
      : { visibility: options.private ? ('private' as const) : ('public' as const) };
  const params = { ...clientParams(session), accessToken };
  await ignoringConflict(() => createRepo({ ...params, ...visibility }));
  if (revision !== 'main') await ignoringConflict(() => createBranch({ ...params, branch: revision }));
}

/** The Hub answers 409 if something already exists. */
async function ignoringConflict(action: () => Promise<unknown>): Promise<void> {
  try {
    await action();
  } catch (error) {
    if (!(error instanceof HubStatusError) || error.status !== 409) throw error;
  }
}

async function hasCard(session: HubSession, revision: string): Promise<boolean> {
  return (await lookUp(session, revision, ['README.md'])).size > 0;
}

async function upload(
  session: HubSession,
  operations: CommitOperation[],
  branch: string,
  options: PushOptions,
): Promise<string> {
  const { commitIter } = await import('@huggingface/hub');
  const { onProgress = () => {} } = options;
  const title = options.message ?? TITLES[options.type];
  const steps = commitIter({ ...clientParams(session), operations, branch, title });
  let step = await steps.next();
  for (; !step.done; step = await steps.next()) {
    const event = step.value;
    if (event.event === 'phase') {
      if (event.phase === 'committing') onProgress({ phase: 'committing', file: '', fraction: 0 });
    } else if (event.state === 'error') {
      throw new CraftError('HUB_REFUSED', `${event.path}: could not be uploaded; run again`);
    } else {
      onProgress({ phase: event.state, file: event.path, fraction: event.progress });
    }
  }
  return step.value!.commit.oid;
}

/** Sets or moves a tag. The client has no call for tags. */
async function setTag(session: HubSession, tag: string, commit: string): Promise<void> {
  const { repo, hubUrl } = session;
  const base = `${hubUrl}/api/${repo.type}s/${repo.name}/tag`;
  const headers = { ...authorization(session), 'Content-Type': 'application/json' };
  try {
    await session.fetch(`${base}/${encodeURIComponent(tag)}`, { method: 'DELETE', headers });
  } catch (error) {
    if (!(error instanceof HubStatusError) || error.status !== 404) throw error;
  }
  await session.fetch(`${base}/${commit}`, { method: 'POST', headers, body: JSON.stringify({ tag }) });
}

/** The card of a dataset, as LeRobot writes it: tags that the Hub's search knows, and info.json. */
function datasetCard(folder: string, repoId: string): string {
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
 * The card of a policy: its type, its dataset and training settings as far as the folder has them (`train_config.json`), and, if it was
 * trained with CRaFT, CRaFT's settings (`craft_config.json`).
 */
function policyCard(folder: string, repoId: string): string {
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
function tokenizerCard(folder: string, repoId: string): string {
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

/** A text as a YAML scalar: JSON strings are valid YAML. */
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
