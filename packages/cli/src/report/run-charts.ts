import { SUCCESS } from '@craft-ft/training';
import type { Html } from './html.js';
import type { Sample } from './line-chart.js';
import { type ChartSpec, type Level, lineChart, type Series } from './line-chart.js';
import type { Numbers, RunData } from './read-run.js';

/** Metrics with a chart of their own, or with none; any others that a policy or method adds are components of its loss. */
const KNOWN = new Set(
  (
    'step samples epochs loss grad_norm lr update_s dataloading_s retention_loss epsilon lambda lambda_used ' +
    'grad_dot grad_cos grad_conflict stale_cos stale_conflict eval_s'
  ).split(' '),
);

/** Points per curve when single batches make it noisy; the rest becomes the band around it. */
const NOISY = 120;

/** All charts of one run, or of several overlaid. */
export function runCharts(runs: readonly RunData[]): (Html | null)[] {
  const one = runs.length === 1 ? runs[0]! : null;
  const config = (name: string) => one?.config?.get(name);
  const log = (key: string, what: string, make = (row: Numbers) => row[key]) =>
    curves(runs, ({ log: rows }) => samples(rows, make), what);
  const history = (key: string, what: string, more: Partial<Series> = {}) =>
    curves(runs, ({ retention }) => samples(retention, (row) => row[key]), what, { limit: NOISY, ...more });
  const specs: ChartSpec[] = [
    ...successCharts(runs),
    {
      title: 'Task loss',
      about: 'On the batches of the new task.',
      series: curves(runs, taskLoss, 'task loss', { limit: NOISY }),
    },
    {
      title: 'Retention loss and ε',
      about: 'On the anchors; the constraint wants it below ε.',
      series: [
        ...history('retention_loss', 'L_retain', { color: one === null ? undefined : 0 }),
        ...epsilons(runs),
      ],
      levels: level('before the first step', one?.startRetentionLoss),
    },
    {
      title: 'λ',
      about: 'Rises while the retention loss is above ε, falls while it is below.',
      series: history('lambda', 'λ', { limit: 300 }),
      levels: level('lambda_max', config('craft.lambda_max')),
    },
    {
      title: 'Cosine of the two gradients',
      about: 'Below 0, learning the new task unlearns the old one.',
      series: history('grad_cos', 'cosine'),
      levels:
        config('craft.conflict_metric') === 'dot'
          ? []
          : level('conflict below', config('craft.conflict_threshold')),
      yScale: 'linear',
    },
    {
      title: 'Steps in conflict',
      about: 'Share of the retention steps in which the gradients conflicted.',
      series: conflicts(runs),
      unit: 'percent',
      yScale: 'linear',
      yRange: [0, 1],
    },
    {
      title: 'Norm of the gradient',
      about: 'Of the gradient that was applied, before clipping.',
      series: log('grad_norm', 'norm'),
      levels: level('clipped above', config('optimizer.grad_clip_norm')),
    },
    { title: 'Learning rate', series: log('lr', 'lr'), yScale: 'linear' },
    {
      title: 'Steps per second',
      series: log('update_s', 'steps/s', ({ update_s: u = 0, dataloading_s: d = 0 }) => 1 / (u + d)),
      yScale: 'linear',
      yRange: [0, 0],
    },
    {
      title: 'Waiting for data',
      about: 'Share of a step that passes before its batch is there.',
      series: log('dataloading_s', 'waiting', ({ update_s: u = 0, dataloading_s: d = 0 }) => d / (u + d)),
      unit: 'percent',
      yScale: 'linear',
      yRange: [0, 0.1],
    },
    ...(one === null ? [] : parts(one)),
  ];
  const end = runs.reduce((most, { log }) => Math.max(most, log.at(-1)!.step!), 0);
  return specs.map((spec) => lineChart({ ...spec, xRange: [0, end] }));
}

/** Success rate on each task during training: a chart has all tasks of one run, or one task of all runs. */
export function successCharts(runs: readonly Pick<RunData, 'name' | 'log'>[]): ChartSpec[] {
  const named = new Set(runs.flatMap(({ log }) => log.flatMap((row) => Object.keys(row))));
  const tasks = [...named].filter((name) => name.startsWith(SUCCESS));
  const curve = ({ log }: Pick<RunData, 'log'>, task: string, label: string, color: number): Series => {
    const share = (row: Numbers) => (row[task] === undefined ? undefined : row[task] / 100);
    return { label, color, samples: samples(log, share) };
  };
  const chart = (title: string, series: Series[]): ChartSpec => ({
    title,
    about: 'Share of the episodes that succeeded, always from the same starts.',
    series,
    unit: 'percent',
    yScale: 'linear',
    yRange: [0, 1],
  });
  const short = (task: string) => task.slice(SUCCESS.length);
  const [run] = runs;
  if (run !== undefined && runs.length === 1) {
    const series = tasks.map((task, color) => curve(run, task, short(task), color));
    return series.length === 0 ? [] : [chart('Success during training', series)];
  }
  return tasks.map((task) =>
    chart(
      `Success at ${short(task)}`,
      runs.map((each, color) => curve(each, task, each.name, color)),
    ),
  );
}

// One curve per run, each in its own colour if there are several.
function curves(
  runs: readonly RunData[],
  pick: (run: RunData) => Sample[],
  what: string,
  more: Partial<Series> = {},
): Series[] {
  return runs.map((run, i) => ({
    label: runs.length === 1 ? what : run.name,
    samples: pick(run),
    ...more,
    color: runs.length === 1 ? (more.color ?? 0) : i,
  }));
}

function samples(rows: readonly Numbers[], make: (row: Numbers) => number | undefined): Sample[] {
  return rows.flatMap((row): Sample[] => {
    const value = make(row);
    return value === undefined ? [] : [[row.step!, value]];
  });
}

// If the history has single batches and the log only means over many steps, the history shows more.
function taskLoss({ log, retention }: RunData): Sample[] {
  const every = samples(retention, (row) => row.task_loss);
  return every.length > log.length ? every : samples(log, (row) => row.loss);
}

function epsilons(runs: readonly RunData[]): Series[] {
  return runs.map((run, i) => ({
    label: runs.length === 1 ? 'ε' : `ε of ${run.name}`,
    samples: samples(run.retention, (row) => row.epsilon),
    color: runs.length === 1 ? 1 : i,
    dashed: true,
    limit: NOISY,
  }));
}

// Means of 0 and 1 over intervals of the run; the extremes would only ever be 0 and 1.
function conflicts(runs: readonly RunData[]): Series[] {
  return curves(
    runs,
    ({ retention }) => {
      const all = samples(retention, (row) => row.grad_conflict);
      const stretch = Math.max(1, Math.ceil(all.length / 40));
      return Array.from({ length: Math.ceil(all.length / stretch) }, (_, i): Sample => {
        const part = all.slice(i * stretch, (i + 1) * stretch);
        const sum = (axis: 0 | 1) => part.reduce((total, sample) => total + sample[axis], 0);
        return [sum(0) / part.length, sum(1) / part.length];
      });
    },
    'in conflict',
  );
}

// The components of the loss that the policy reports, for the task and for the anchors.
function parts({ log, retention }: RunData): ChartSpec[] {
  const names = [...new Set(log.flatMap((row) => Object.keys(row)))].filter(
    (name) => !KNOWN.has(name) && !name.startsWith(SUCCESS),
  );
  const chart = (title: string, own: string[]): ChartSpec[] =>
    own.length < 2
      ? []
      : [
          {
            title,
            about: 'As the policy reports them.',
            series: own.map((name, color) => ({
              label: name,
              samples: samples(log, (row) => row[name]),
              color,
            })),
          },
        ];
  const ofAnchors = retention.length === 0 ? [] : names.filter((name) => name.startsWith('retention_'));
  return [
    ...chart(
      'Parts of the task loss',
      names.filter((name) => !ofAnchors.includes(name)),
    ),
    ...chart('Parts of the retention loss', ofAnchors),
  ];
}

function level(label: string, value: unknown): Level[] {
  return typeof value === 'number' && Number.isFinite(value) ? [{ label, value }] : [];
}
