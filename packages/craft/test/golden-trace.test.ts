import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { findGolden } from '../../torch/test/shared.js';
import { combine, epsilonSchedule, updateLambda } from '../src/index.js';

type Step = Record<string, number> & { conflict?: boolean };

interface Trace {
  hyperparameters: Record<string, number>;
  runs: Record<string, Step[]>;
}

describe('decisions of the golden training traces', () => {
  const file = findGolden('act', 'trace', 'trace.json')!;
  const { hyperparameters: h, runs } = JSON.parse(readFileSync(file, 'utf8')) as Trace;

  test.each(Object.keys(runs).filter((run) => run.startsWith('craft')))('%s', (run) => {
    const metric = run === 'craft_cosine' ? 'cosine' : 'dot';
    const steps = runs[run].filter(({ retention_loss }) => retention_loss !== undefined);
    expect(steps.length).toBeGreaterThan(5);
    for (const { step, dot, cos, conflict, epsilon, retention_loss, lambda_used, lambda_after } of steps) {
      expect(epsilonSchedule(step, h.epsilon_start, h.epsilon_end, h.steps)).toBeCloseTo(epsilon, 12);
      expect(updateLambda(lambda_used, retention_loss, epsilon, h.lambda_lr, h.lambda_max)).toBeCloseTo(
        lambda_after,
        12,
      );
      const products = metric === 'cosine' ? { d: cos, T: 1, R: 1 } : { d: dot, T: 1, R: 1 };
      const decision = combine(products, { lambda: 0, threshold: h.conflict_threshold, metric });
      expect(decision.conflict).toBe(conflict);
    }
  });
});
