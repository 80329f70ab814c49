import type { Policy, TensorBatch } from '@craft-ft/policies';
import { nn, scope, setNumThreads, tensor } from '@craft-ft/torch';
import { Optimization, type TrainingData } from '@craft-ft/training';
import { describe, expect, test } from 'vitest';
import { craftConfigSchema } from '../src/config.js';
import { CraftStrategy } from '../src/strategy.js';

setNumThreads(1);

/**
 * A constrained problem whose solution is known: L_task = ½|w − t|² and L_retain = ½|w − r|² with |t − r| = D. The optimum under
 * L_retain ≤ ε lies on the line from r to t at distance √(2ε) from r, and there λ* = D / √(2ε) − 1.
 */
const TARGET = [3, 4];
const DISTANCE = 5;

class Quadratics extends nn.Module {
  // Starts at r, the optimum of the old task.
  readonly weight = new nn.Parameter(tensor([0, 0]));

  override forward({ target }: TensorBatch) {
    return { loss: this.weight.sub(target!).square().sum().mul(0.5), metrics: {} };
  }

  parameterGroups() {
    return [{ parameters: this.namedParameters() }];
  }
}

const batchOf = (target: number[]): TensorBatch => ({ target: tensor(target) });

class Old implements TrainingData {
  readonly batchSize = 1;
  readonly framesPerEpoch = 1;
  async ready(): Promise<void> {}
  batch(): TensorBatch {
    return batchOf([0, 0]);
  }
  async close(): Promise<void> {}
}

/** Runs CRaFT; the updates are plain gradient descent in all but name: β₁ = 0 and a large eps make AdamW linear in g. */
async function solve(epsilon: number, fields: object, steps = 1000, rate = 0.1) {
  const model = new Quadratics();
  const policy = model as unknown as Policy;
  const optimizer = {
    type: 'adamw',
    betas: [0, 0.999],
    eps: 1e4,
    weight_decay: 0,
    grad_clip_norm: 0,
  } as const;
  const optimization = new Optimization(
    policy,
    { ...optimizer, betas: [0, 0.999], lr: rate * 1e4 },
    null,
    steps,
  );
  const config = craftConfigSchema.parse({
    ...{ retention_freq: 1, initial_lambda: 0, lambda_lr: 0.2, lambda_max: 50 },
    ...{ epsilon_mode: 'absolute', epsilon_start: epsilon, use_grad_projection: false },
    ...fields,
  });
  const strategy = new CraftStrategy({ policy, optimization, anchors: new Old(), config, steps });
  await strategy.begin();
  for (let step = 0; step < steps; step++) scope(() => strategy.update(step, [() => batchOf(TARGET)]));
  const rows = strategy.history;
  const late = rows.slice(-100);
  const spread = (key: 'lambda' | 'retention_loss') =>
    Math.max(...late.map((row) => row[key])) - Math.min(...late.map((row) => row[key]));
  const best = DISTANCE / Math.sqrt(2 * epsilon) - 1;
  // Steps until L_retain stays within 10 % of ε.
  const settled = 1 + rows.findLastIndex((row) => Math.abs(row.retention_loss - epsilon) > 0.1 * epsilon);
  return {
    best,
    lambda: strategy.lambda,
    retention: rows.at(-1)!.retention_loss,
    weight: model.weight.tolist() as number[],
    spread: spread('lambda'),
    // How far beyond the boundary, and how far back within it, the run swings.
    worst: Math.max(...rows.map((row) => row.retention_loss)) - epsilon,
    swing: rows.reduce(
      (sum, row, i) => sum + Math.abs(row.retention_loss - (rows[i - 1]?.retention_loss ?? 0)),
      0,
    ),
    settled,
    report: await strategy.report(),
  };
}

describe('λ converges to the multiplier and the constraint binds', () => {
  test.each([
    ['gradient ascent', 0.5, {}],
    ['gradient ascent, tighter', 0.125, {}],
    ['PID', 0.5, { lambda_controller: 'pid', lambda_kp: 2, lambda_kd: 1, lambda_smoothing: 0 }],
    ['per tensor', 0.5, { surgery_granularity: 'tensor' }],
  ])('%s, ε = %d', async (_, epsilon, fields) => {
    const found = await solve(epsilon, fields, epsilon < 0.5 ? 2000 : 1000);
    expect(found.retention).toBeCloseTo(epsilon, 2);
    const radius = Math.sqrt(2 * epsilon);
    expect(found.weight[0]).toBeCloseTo((TARGET[0]! / DISTANCE) * radius, 2);
    expect(found.weight[1]).toBeCloseTo((TARGET[1]! / DISTANCE) * radius, 2);
    expect(found.spread).toBeLessThan(0.02);
    expect(found.lambda).toBeCloseTo(found.best, 2);
  });

  test('K-step retention reaches it on average, with its gradient multiplied by K', async () => {
    const found = await solve(0.5, { retention_freq: 4, retention_scale: 'step', lambda_lr: 0.05 }, 2000);
    expect(found.retention).toBeCloseTo(0.5, 1);
    // The mean over K steps is what has to balance: λ itself is a little higher, since the steps between run off.
    expect(found.lambda).toBeGreaterThan(found.best);
    expect(found.lambda).toBeLessThan(1.25 * found.best);
  });

  test('with the projection the constraint holds with room to spare: what opposes retention is gone before λ weighs it', async () => {
    const found = await solve(0.5, { use_grad_projection: true, conflict_threshold: 0 });
    expect(found.retention).toBeLessThan(0.5);
    expect(found.lambda).toBeLessThan(found.best);
  });
});

test('PID oscillates less than gradient ascent at the same integral gain, and settles sooner', async () => {
  // At the optimum both follow x'' + (5 + K_p)·r·x' + K_i·r·x = 0: a damping ratio of 0.2 without K_p, 0.8 with it.
  const gain = { lambda_lr: 3 };
  const plain = await solve(0.5, gain, 600, 0.02);
  const pid = await solve(
    0.5,
    { ...gain, lambda_controller: 'pid', lambda_kp: 15, lambda_smoothing: 0 },
    600,
    0.02,
  );
  expect(pid.lambda).toBeCloseTo(pid.best, 2);
  expect(plain.worst).toBeGreaterThan(0.3);
  expect(pid.worst).toBeLessThan(0.7 * plain.worst);
  expect(pid.swing).toBeLessThan(0.5 * plain.swing);
  expect(pid.settled).toBeLessThan(0.5 * plain.settled);
});

test('a constraint that does not bind leaves λ at 0 and the task to itself', async () => {
  const found = await solve(20, { initial_lambda: 2 });
  expect(found.lambda).toBe(0);
  expect(found.weight).toEqual([expect.closeTo(3, 3), expect.closeTo(4, 3)]);
  expect(found.report).toMatchObject({ constraintMet: 1, lambda: { now: 0 } });
});

test('a constraint that cannot be met drives λ to its bound, and stays within it', async () => {
  const found = await solve(0, { lambda_max: 8 });
  expect(found.lambda).toBe(8);
  expect(found.retention).toBeCloseTo(0.5 * (DISTANCE / 9) ** 2, 3);
});

test("A-GEM stays where it starts: the old task's optimum has no gradient, then every step away is undone", async () => {
  const free = await solve(0.5, { surgery: 'none', initial_lambda: 0, lambda_lr: 0 }, 200);
  const held = await solve(0.5, { surgery: 'agem', use_grad_projection: true }, 200);
  expect(free.retention).toBeGreaterThan(10);
  expect(held.retention).toBeLessThan(0.2);
  expect(held.report!.meanCosine).toBeLessThan(-0.9);
});
