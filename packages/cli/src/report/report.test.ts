import {
  appendFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { craft } from '../../test/craft.js';
import { successTable, videoGallery } from './blocks.js';
import { renderPage } from './page.js';
import { readRun } from './read-run.js';
import { distinctNames, runReport } from './run-report.js';
import { summarize, summaryLines } from './summary.js';

const folder = mkdtempSync(join(tmpdir(), 'craft-report-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const COLUMNS = 'step,task_loss,retention_loss,epsilon,lambda_used,lambda,grad_dot,grad_cos,grad_conflict';

interface Fake {
  /** Steps logged, one line every 10. */
  steps?: number;
  craft?: boolean;
  /** Retention steps in the checkpoint's history. */
  history?: number;
  config?: Record<string, unknown>;
  checkpoint?: boolean;
}

let made = 0;

/** The folder of a run as `craft train` leaves it. */
function fakeRun({
  steps = 100,
  craft: withCraft = true,
  history = steps,
  config = {},
  checkpoint = true,
}: Fake = {}): string {
  const run = join(folder, `run${made++}`);
  mkdirSync(run);
  const retention = (i: number) => ({
    retention_loss: 0.3 - i / 1000,
    epsilon: 0.25,
    lambda_used: i / 100,
    lambda: (i + 1) / 100,
    grad_dot: -1,
    grad_cos: -0.5,
    grad_conflict: i % 2,
  });
  for (let step = 10; step <= steps; step += 10) {
    const plain = {
      step,
      samples: step * 8,
      epochs: step / 10,
      loss: 1 / step,
      grad_norm: 2,
      lr: 1e-3,
      update_s: 0.03,
      dataloading_s: 0.01,
    };
    appendFileSync(
      join(run, 'metrics.jsonl'),
      `${JSON.stringify({ ...plain, ...(withCraft ? retention(step - 1) : {}) })}\n`,
    );
  }
  if (!checkpoint) return run;
  const saved = join(run, 'checkpoints', '000100');
  for (const part of ['pretrained_model', 'training_state'])
    mkdirSync(join(saved, part), { recursive: true });
  symlinkSync('000100', join(run, 'checkpoints', 'last'));
  writeFileSync(
    join(saved, 'pretrained_model', 'train_config.json'),
    JSON.stringify({ steps: 100, dataset: { repo_id: 'me/new' }, policy: { type: 'act' }, ...config }),
  );
  if (!withCraft) return run;
  writeFileSync(
    join(saved, 'pretrained_model', 'craft_config.json'),
    JSON.stringify({ enabled: true, lambda_max: 0.5, conflict_threshold: -0.1 }),
  );
  writeFileSync(
    join(saved, 'training_state', 'craft_state.json'),
    JSON.stringify({ start_retention_loss: 0.2 }),
  );
  const rows = Array.from({ length: history }, (_, i) => {
    const row = { step: i, task_loss: 2 / (i + 1), ...retention(i) } as Record<string, number>;
    return COLUMNS.split(',')
      .map((column) => row[column])
      .join(',');
  });
  writeFileSync(join(saved, 'training_state', 'lambda_history.csv'), `${[COLUMNS, ...rows].join('\n')}\n`);
  return run;
}

test('a run is read: log, history, configuration, starting loss', () => {
  const run = readRun(fakeRun());
  expect(run).toMatchObject({ startRetentionLoss: 0.2, notes: [] });
  expect(run.log).toHaveLength(10);
  expect(run.retention).toHaveLength(100);
  expect(run.retention[0]).toMatchObject({ step: 1, task_loss: 2 });
  expect(run.config!.get('craft.lambda_max')).toBe(0.5);
});

test('its numbers', () => {
  const { taskLoss, retention, seconds, secondsPerStep, dataShare, steps } = summarize(readRun(fakeRun()));
  expect(steps).toBe(100);
  expect(taskLoss).toMatchObject({ first: { from: 1, to: 10 }, last: { from: 91, to: 100 } });
  expect(taskLoss!.last.mean).toBeCloseTo(0.02096, 4);
  expect([seconds, secondsPerStep, dataShare].map((value) => Number(value.toFixed(6)))).toEqual([
    4, 0.04, 0.25,
  ]);
  expect(retention).toMatchObject({
    count: 100,
    start: 0.2,
    conflictShare: 0.5,
    meanCosine: -0.5,
    lambda: { max: 1, last: 1 },
  });
  expect(retention!.atBound).toBeCloseTo(0.51);
  expect(retention!.last).toBeCloseTo(0.2055);
});

test('advice where the curves are plain: λ at its bound, or a constraint that λ came too late for', () => {
  const summary = summarize(readRun(fakeRun()));
  const said = (changes: object) =>
    summaryLines({ ...summary, retention: { ...summary.retention!, ...changes } }).rest[0];
  expect(said({})).toContain('λ was at craft.lambda_max in 51 %');
  expect(said({ atBound: 0 })).toMatch(/^100 steps/);
  expect(said({ atBound: 0, last: 0.5 })).toContain('the constraint is exceeded by 100 % at the end');
});

test('beyond the last checkpoint the log takes over', () => {
  const { retention, notes } = readRun(fakeRun({ history: 55 }));
  expect(retention.slice(53).map(({ step }) => step)).toEqual([54, 55, 60, 70, 80, 90, 100]);
  expect(notes).toEqual([]);
});

test('an unfinished run with a last line cut off: what is there is shown, the rest is said', () => {
  const run = fakeRun({ steps: 50 });
  appendFileSync(join(run, 'metrics.jsonl'), '{"step":60,"loss":0.0');
  const data = readRun(run);
  expect(data.log.at(-1)!.step).toBe(50);
  expect(data.notes).toEqual([
    'The last line of metrics.jsonl was cut off and is left out.',
    'Not finished: step 50 of 100.',
  ]);
  expect(runReport([data])).toContain('Not finished: step 50 of 100.');
});

test('a run without CRaFT, and one without any checkpoint', () => {
  const plain = runReport([readRun(fakeRun({ craft: false }))]);
  expect(plain).toContain('Task loss');
  expect(plain).not.toContain('Retention loss');
  const bare = readRun(fakeRun({ checkpoint: false }));
  expect(bare.config).toBeNull();
  expect(bare.notes).toEqual(['No checkpoint holds the configuration of this run.']);
  // The log has λ and the retention loss, but not for every step.
  expect(runReport([bare])).toContain('Retention loss and ε');
});

test('without checkpoints/last the highest step counts', () => {
  const run = fakeRun();
  rmSync(join(run, 'checkpoints', 'last'));
  expect(readRun(run).config!.get('steps')).toBe(100);
});

test('a step that was logged twice counts once, as it was logged last', () => {
  const run = fakeRun({ steps: 20, craft: false });
  appendFileSync(join(run, 'metrics.jsonl'), '{"step":20,"loss":7}\n');
  expect(readRun(run).log.map(({ step, loss }) => [step, loss])).toEqual([
    [10, 0.1],
    [20, 7],
  ]);
});

test('NaN in the log, which JSON writes as null, leaves a gap', () => {
  const run = fakeRun({ steps: 20, craft: false });
  appendFileSync(join(run, 'metrics.jsonl'), '{"step":30,"loss":null,"grad_norm":null}\n');
  expect(runReport([readRun(run)])).not.toContain('NaN');
});

test.each([
  ['no such folder', () => join(folder, 'nowhere'), /nowhere: no such folder; give the output_dir/],
  ['no run', () => folder, /there is no metrics.jsonl in it; give the output_dir/],
  [
    'a damaged line',
    () => {
      const run = fakeRun();
      writeFileSync(join(run, 'metrics.jsonl'), '{"step":1}\nnonsense\n{"step":3}\n');
      return run;
    },
    /metrics.jsonl: line 2 is damaged; remove that line/,
  ],
  [
    'nothing logged yet',
    () => {
      const run = fakeRun();
      writeFileSync(join(run, 'metrics.jsonl'), '{"ste');
      return run;
    },
    /metrics.jsonl: no complete line yet/,
  ],
  [
    'a damaged history',
    () => {
      const run = fakeRun();
      writeFileSync(join(run, 'checkpoints/last/training_state/lambda_history.csv'), 'step,lambda\n1,2\n3\n');
      return run;
    },
    /lambda_history.csv: line 3 has 1 values for 2 columns; restore/,
  ],
  [
    'a damaged configuration',
    () => {
      const run = fakeRun();
      writeFileSync(join(run, 'checkpoints/last/pretrained_model/train_config.json'), '{');
      return run;
    },
    /train_config.json is damaged; restore/,
  ],
])('%s is an error that names file and remedy', (_, make, message) => {
  expect(() => readRun(make())).toThrow(message);
});

test('several runs: a table, curves over each other, what differs', () => {
  const runs = [fakeRun(), fakeRun({ craft: false, config: { steps: 200, seed: 3 } })].map((run) =>
    readRun(run),
  );
  const page = runReport(runs);
  expect(page).toContain('2 runs compared');
  expect(page).toContain('Configuration: what differs');
  expect(page).toContain(
    '<tr class="differs"><th class="text">steps</th><td class="text">100</td><td class="text">200</td></tr>',
  );
  expect(page).toContain(`${runs[1]!.name}: Not finished: step 100 of 200.`);
});

test('values that hold markup stay text', () => {
  const evil = '<script>alert(1)</script>';
  const page = runReport([
    readRun(fakeRun({ config: { job: { [`a${evil}`]: evil }, dataset: { repo_id: evil } } })),
  ]);
  expect(page).not.toContain(evil);
  expect(page.match(/<script>/g)).toHaveLength(1);
});

test('the page needs nothing from outside', () => {
  const page = runReport([readRun(fakeRun())]);
  expect(page).not.toMatch(/(src|href)=/);
  // The only address is the name of the SVG namespace, in the script.
  expect(page.match(/https?:\/\/[^'"\s]+/g)).toEqual(['http://www.w3.org/2000/svg']);
  expect(page).toMatch(/default-src &#39;none&#39;/);
});

test('success rates and videos for other pages', () => {
  const body = successTable(
    ['red & round', 'blue'],
    [{ policy: 'CRaFT', outcomes: [{ successes: 8, trials: 10 }, null] }],
  );
  expect(body.markup).toContain('<th class="">red &amp; round</th>');
  expect(body.markup).toContain('80 %<small>8 of 10; 49 % to 94 %</small>');
  expect(body.markup).toContain('<td class="">–</td>');
  const page = renderPage({
    title: 'Videos',
    sections: [
      { title: 'Trials', body: videoGallery([{ title: 'a <b>', bytes: new Uint8Array([1, 2, 3]) }]) },
    ],
  });
  expect(page).toContain('src="data:video/mp4;base64,AQID"');
  expect(page).toContain('a &lt;b&gt;');
});

test('names of runs are their folders, with parents where those are alike', () => {
  expect(distinctNames(['a/x', 'b/y'])).toEqual(['x', 'y']);
  expect(distinctNames(['out/a/run', 'out/b/run'])).toEqual(['a/run', 'b/run']);
});

test('craft report: one run into its folder, several where --output says', async () => {
  const [a, b] = [fakeRun(), fakeRun({ craft: false })];
  const one = await craft(['report', a]);
  expect(one).toMatchObject({ code: 0, err: '' });
  expect(one.out).toContain(`report: ${join(a, 'report.html')}`);
  expect(one.out).toContain('λ was at craft.lambda_max in 51 % of the retention steps');
  const page = join(folder, 'both.html');
  expect(await craft(['report', a, b, `--output=${page}`])).toMatchObject({ code: 0 });
  expect(readFileSync(page, 'utf8')).toContain('2 runs compared');
});

test.each([
  [['report'], 2, /needs a run/],
  [['report', 'a', '--json'], 2, /takes only --output, found --json/],
  [['report', 'a', '--output='], 2, /--output needs a file/],
  [['report', 'a', 'a'], 1, /given twice/],
  [['report', '/nowhere'], 1, /no such folder/],
])('craft %j: exit code %i', async (argv, code, message) => {
  const ran = await craft(argv);
  expect(ran.code).toBe(code);
  expect(ran.err).toMatch(message);
});
