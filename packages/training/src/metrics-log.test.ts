import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { LossMean } from '@craft-ft/policies/loss-mean';
import { tensor } from '@craft-ft/torch';
import { expect, test } from 'vitest';
import { metricsOf, testFolder } from '../test/training.js';
import type { StepReport } from './method.js';
import { formatRecord, MetricsLog } from './metrics-log.js';

const report = (loss: number, more: Partial<StepReport> = {}): StepReport => ({
  loss,
  gradNorm: 2 * loss,
  lr: 1e-4,
  metrics: { l1_loss: loss / 2 },
  ...more,
});
const times = { data: 0.25, update: 0.5 };

test('means since the last line, and the latest of what is of a moment', () => {
  const folder = testFolder();
  const log = new MetricsLog(folder, 4, 10);
  log.add(report(1, { latest: { lambda: 7 } }), times);
  // A value reported only in some steps is averaged over those.
  log.add(report(3, { metrics: { l1_loss: 2, retention_l1_loss: 9 } }), times);
  expect(log.flush(2)).toEqual({
    ...{
      step: 2,
      samples: 8,
      epochs: 0.8,
      loss: 2,
      grad_norm: 4,
      lr: 1e-4,
      update_s: 0.5,
      dataloading_s: 0.25,
    },
    ...{ l1_loss: 1.25, retention_l1_loss: 9, lambda: 7 },
  });
  log.add(report(5), times);
  expect(log.flush(3)).toMatchObject({ step: 3, loss: 5, lambda: 7 });
  expect(metricsOf(folder).map(({ loss }) => loss)).toEqual([2, 5]);
});

const counted = (loss: number, count: number) => {
  const task = new LossMean();
  const parts = { l1_loss: { weight: 1, count }, kld_loss: { weight: 10, count: 4 } };
  task.add({ loss: tensor(loss + 10), metrics: { l1_loss: loss, kld_loss: 1 }, count, parts }, 4);
  return report(task.loss, { task, metrics: { ...task.metrics, retention_l1_loss: loss } });
};

test('loss and metrics of the task are means over elements, not over batches', () => {
  const log = new MetricsLog(testFolder(), 4, 10);
  log.add(counted(1, 30), times);
  expect(log.flush(1)).toMatchObject({ loss: 11, l1_loss: 1, kld_loss: 1 });
  log.add(counted(1, 30), times);
  const state = log.state();
  log.restore(state, 'here');
  log.add(counted(5, 10), times);
  const record = log.flush(3);
  expect(record).toMatchObject({ loss: 12, l1_loss: 2, kld_loss: 1, retention_l1_loss: 3 });
  expect(Object.keys(record).slice(0, 5)).toEqual(['step', 'samples', 'epochs', 'loss', 'grad_norm']);
});

test('the unfinished window goes on in another process', () => {
  const folder = testFolder();
  const [one, two] = [new MetricsLog(folder, 4, 10), new MetricsLog(folder, 4, 10)];
  one.add(report(1, { latest: { lambda: 0.1 + 0.2 } }), times);
  two.restore(one.state(), 'here');
  for (const log of [one, two]) log.add(report(1 / 3), times);
  expect(two.flush(2)).toEqual(one.flush(2));
  expect(() => two.restore('{"sums": 1}', 'here.json')).toThrow('here.json: the file is damaged');
});

test('lines of steps that will be taken again are dropped, and what a crash cut off', () => {
  const folder = testFolder();
  const file = join(folder, 'metrics.jsonl');
  const log = new MetricsLog(folder, 1, 1);
  log.begin(0);
  expect(existsSync(file)).toBe(false);
  writeFileSync(file, '{"step":5}\n{"step":10}\n{"step":15}\n{"st');
  log.begin(10);
  expect(readFileSync(file, 'utf8')).toBe('{"step":5}\n{"step":10}\n');
  log.begin(10);
  expect(readFileSync(file, 'utf8')).toBe('{"step":5}\n{"step":10}\n');
});

test('a log that cannot be written names the file', () => {
  const folder = join(testFolder(), 'nowhere');
  const log = new MetricsLog(folder, 1, 1);
  log.add(report(1), times);
  expect(() => log.flush(1)).toThrow(`${folder}/metrics.jsonl: cannot be written (ENOENT)`);
});

test('the printed line', () => {
  const base = { step: 1500, samples: 12_000, epochs: 1.234, loss: 0.12345, grad_norm: 1.5, lr: 1e-5 };
  const record = { ...base, update_s: 0.0123, dataloading_s: 0.001 };
  expect(formatRecord(record)).toBe(
    'step:1.5K smpl:12K epch:1.23 loss:0.1235 grdn:1.500 lr:1.0e-5 updt_s:0.012 data_s:0.001',
  );
  const craft = { retention_loss: 0.5, lambda: 1.25, epsilon: 0.1, grad_dot: -3, grad_cos: -0.25 };
  expect(formatRecord({ ...record, step: 2_000_000, ...craft, grad_conflict: 1 })).toBe(
    'step:2M smpl:12K epch:1.23 loss:0.1235 grdn:1.500 L_ret:0.5000 λ:1.2500 ε:0.1000 dot:-3.0000 cos:-0.250 conflict:yes ' +
      'lr:1.0e-5 updt_s:0.012 data_s:0.001',
  );
  expect(formatRecord({ ...record, grad_conflict: 0 })).toContain('conflict:no');
});
