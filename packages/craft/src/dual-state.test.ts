import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { craftConfigSchema } from './config.js';
import { type DualSettings, DualState, dualSettings, resolveEpsilon, scaleWarnings } from './dual-state.js';

const config = craftConfigSchema.parse({
  ...{ lambda_lr: 0.3, epsilon_mode: 'absolute', epsilon_start: 1, epsilon_end: 0 },
});
const settings = dualSettings(config, 10);
const relative = dualSettings({ ...config, epsilon_mode: 'relative' }, 10);
const roundTrip = (state: DualState) =>
  DualState.fromJSON(JSON.parse(JSON.stringify(state)), 'craft_state.json');

describe('DualState', () => {
  test('updates return a new state; λ and ε follow the schedule over the steps of the run', () => {
    const start = DualState.initial(1);
    const next = start.update(5, 2, settings);
    expect(start.toJSON()).toEqual({
      ...{ lambda: 1, epsilon: null, updates: 0, baselineLoss: null },
      pid: { integral: 1, smoothed: null },
    });
    expect(next.toJSON()).toEqual({
      ...{ lambda: 1.45, epsilon: 0.5, updates: 1, baselineLoss: null },
      pid: { integral: 1.45, smoothed: 2 },
    });
    expect(start.epsilonAt(5, dualSettings({ ...config, epsilon_decay_steps: 5 }, 10))).toBe(0);
  });

  test('a relative ε multiplies the starting loss, which must be known and positive', () => {
    expect(DualState.initial(1).withBaseline(0.2).epsilonAt(5, relative)).toBeCloseTo(0.1, 15);
    const refused = expect.objectContaining({ code: 'EPSILON_BASELINE' });
    expect(() => DualState.initial(1).epsilonAt(5, relative)).toThrow(refused);
    for (const loss of [0, -1, Number.NaN, Infinity]) {
      expect(() => DualState.initial(1).withBaseline(loss)).toThrow(refused);
    }
  });

  test('a relative ε makes λ follow the violation as a share of the starting loss, whatever its scale', () => {
    const how: DualSettings = { ...relative, epsilon_schedule: 'constant' };
    for (const scale of [1, 0.01]) {
      const start = DualState.initial(1).withBaseline(scale);
      expect(start.update(0, 1.5 * scale, how).lambda).toBeCloseTo(1.15, 12);
      const pid = start.update(0, 1.5 * scale, { ...how, lambda_controller: 'pid' });
      expect(pid.lambda).toBeCloseTo(1.65, 12);
      expect(pid.epsilon).toBeCloseTo(scale, 12);
      // More than twice the starting loss counts as twice: what a burst adds is paid back as fast.
      expect(start.update(0, 50 * scale, how).lambda).toBeCloseTo(1.3, 12);
      expect(() => start.update(0, Number.NaN, how)).toThrow('NaN');
    }
  });

  test('a run that was saved and loaded goes on with the very same numbers', () => {
    const loss = fc.double({ min: 0, max: 5, noNaN: true });
    fc.assert(
      fc.property(fc.array(loss, { maxLength: 10 }), fc.nat(10), fc.boolean(), (losses, stop, pid) => {
        const how: DualSettings = {
          ...settings,
          lambda_controller: pid ? 'pid' : 'gradient',
          lambda_kd: 0.3,
        };
        let [straight, resumed] = [
          DualState.initial(1).withBaseline(0.7),
          DualState.initial(1).withBaseline(0.7),
        ];
        losses.forEach((value, step) => {
          straight = straight.update(step, value, how);
          if (step === stop) resumed = roundTrip(resumed);
          resumed = resumed.update(step, value, how);
        });
        expect(roundTrip(resumed)).toStrictEqual(straight);
      }),
    );
  });

  test('reads states from before there was a PID controller', () => {
    const old = { lambda: 0.7, epsilon: 0.5, updates: 3, baselineLoss: null };
    expect(DualState.fromJSON(old, 'x').pid).toEqual({ integral: 0.7, smoothed: null });
  });

  test.each([
    ['lambda', { lambda: -1, epsilon: null, updates: 0, baselineLoss: null }],
    ['updates', { lambda: 1, epsilon: null, baselineLoss: null }],
    ['state', 'λ'],
  ])('a damaged file is refused, naming %s', (field, value) => {
    const error = {
      code: 'CRAFT_STATE_INVALID',
      message: expect.stringMatching(`craft_state.json.*${field}`),
    };
    expect(() => DualState.fromJSON(value, 'craft_state.json')).toThrow(expect.objectContaining(error));
  });
});

const warnings = (fields: object, start: number) => {
  const config = craftConfigSchema.parse(fields);
  return scaleWarnings(resolveEpsilon(config), config, start).join();
};

test('an absolute ε far from the loss it bounds', () => {
  expect(warnings({ epsilon_start: 1 }, 0.05)).toContain('epsilon_mode=relative');
  expect(warnings({ epsilon_start: 0.01 }, 0.5)).toContain('epsilon_mode=relative');
  expect(warnings({ epsilon_start: 0.1 }, 0.15)).toBe('');
  expect(warnings({}, 123)).toBe('');
});

test('the distance from a teacher may begin at 0, then only a relative ε is wrong', () => {
  const hidden = { retention_mode: 'hidden', anchor_cache_dir: 'cache' };
  expect(warnings(hidden, 4.5e-8)).toBe('');
  expect(warnings({ ...hidden, epsilon_start: 0.1 }, 0)).toBe('');
  expect(warnings(hidden, 0.6)).toContain('epsilon_mode=relative');
  expect(warnings({ ...hidden, epsilon_mode: 'relative' }, 4.5e-8)).toContain('epsilon_mode=absolute');
  expect(warnings({ ...hidden, epsilon_mode: 'relative' }, 0.6)).toBe('');
});
