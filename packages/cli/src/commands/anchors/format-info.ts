import type { AnchorCacheInfo } from '@craft-ft/craft';

/** Tasks shown at most. */
const TASKS = 12;

/** What `craft anchors info` prints. */
export function formatInfo(info: AnchorCacheInfo): string[] {
  const { teacher, selection, notes, damaged } = info;
  const lines = [
    `${info.dir}: ${info.samples} samples of ${info.kinds.join(', ')}, ${size(info.bytes)}`,
    row('inputs', inputs(info)),
    ...targets(info).map((text) => row('targets', text)),
  ];
  if (teacher !== null) {
    const hash = teacher.weights_sha256 === null ? '' : `, weights ${teacher.weights_sha256.slice(0, 12)}`;
    lines.push(row('teacher', `${teacher.path} (${teacher.type}${hash})`));
  }
  for (const data of info.datasets) lines.push(row('dataset', dataset(data)));
  lines.push(row('selection', chosen(selection, info.seed)));
  const tasks = Object.entries(info.tasks).sort(([, a], [, b]) => b - a);
  lines.push(row('tasks', String(tasks.length)));
  for (const [task, count] of tasks.slice(0, TASKS)) lines.push(`    ${String(count).padStart(6)}  ${task}`);
  if (tasks.length > TASKS) lines.push(`            and ${tasks.length - TASKS} more`);
  for (const note of notes) lines.push(row('note', note));
  if (damaged !== null)
    lines.push(
      row('verified', damaged.length === 0 ? 'every shard is intact' : `damaged: ${damaged.join(', ')}`),
    );
  return lines;
}

function row(name: string, text: string): string {
  return `  ${name.padEnd(10)} ${text}`;
}

function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  const power = Math.min(units.length - 1, Math.floor(Math.log10(Math.max(1, bytes)) / 3));
  return `${(bytes / 1000 ** power).toFixed(power === 0 ? 0 : 1)} ${units[power]}`;
}

function inputs({ images, preprocessed }: AnchorCacheInfo): string {
  const cameras = Object.entries(images).map(([key, { height, width }]) => `${key} ${height}×${width}`);
  const form = preprocessed ? 'preprocessed' : "before the policy's processors";
  return [...cameras, form].join(', ');
}

function targets({ hidden, feature, action, tokens, dtype }: AnchorCacheInfo): string[] {
  const lines: string[] = [];
  if (hidden !== null) {
    const parts = `layers ${hidden.layers.join(', ')}, ${hidden.poolings.join(', ')}`;
    lines.push(`hidden ${parts}, ${hidden.hidden_size} wide, ${dtype}`);
  }
  if (feature !== null)
    lines.push(`feature layer ${feature.layer}, ${feature.pooling}, ${feature.hidden_size} wide, ${dtype}`);
  if (action !== null) lines.push(`action ${action.chunk}×${action.dim}, ${dtype}`);
  if (tokens !== null) lines.push(`tokens of the ${tokens.source}, up to ${tokens.length}`);
  return lines;
}

function dataset(data: AnchorCacheInfo['datasets'][number]): string {
  const name = data.revision === null ? data.repo_id : `${data.repo_id} at ${data.revision.slice(0, 12)}`;
  if (data.samples === null || data.frames === null) return name;
  const share = ((100 * data.samples) / data.frames).toFixed(1);
  return `${name}: ${data.samples} of ${data.frames} frames (${share} %), ${data.episodes_covered} of ${data.episodes} episodes`;
}

function chosen(
  { strategy, pool_size: pool, coverage }: AnchorCacheInfo['selection'],
  seed: number | null,
): string {
  const parts = [strategy];
  if (pool !== null) parts.push(`among ${pool} frames`);
  if (seed !== null) parts.push(`seed ${seed}`);
  if (coverage !== null) {
    const [radius, mean] = [coverage.radius.toFixed(2), coverage.mean.toFixed(2)];
    parts.push(`furthest frame ${radius} from an anchor, mean ${mean} (1: the spread of all frames)`);
  }
  return parts.join(', ');
}
