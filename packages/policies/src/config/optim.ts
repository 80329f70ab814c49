import { z } from 'zod';
import type { Problem } from './check.js';

const beta = z.number().min(0).lt(1);

/** AdamW with gradient clipping. Defaults are LeRobot's `AdamWConfig`. */
const adamwConfigSchema = z.strictObject({
  type: z.literal('adamw').describe('Adam with decoupled weight decay'),
  lr: z
    .number()
    .min(0)
    .default(1e-3)
    .describe('Learning rate. Typical: 1e-5 to 1e-3; a policy preset sets its own.'),
  betas: z
    .tuple([beta, beta])
    .default([0.9, 0.999])
    .describe('Decay of the running means of the gradient and of its square.'),
  eps: z
    .number()
    .gt(0)
    .default(1e-8)
    .describe('Added to the root of the second moment so that it never divides by 0.'),
  weight_decay: z
    .number()
    .min(0)
    .default(1e-2)
    .describe(
      'Each step shrinks the weights by lr * weight_decay. Parameters without a gradient are left alone.',
    ),
  grad_clip_norm: z
    .number()
    .min(0)
    .default(10)
    .describe('Largest L2 norm of the whole gradient; a longer one is scaled down to it. 0: no clipping.'),
});

export const optimizerConfigSchema = z.discriminatedUnion('type', [adamwConfigSchema]);
export type OptimizerConfig = z.infer<typeof optimizerConfigSchema>;

const warmup = z
  .int()
  .min(0)
  .describe('Steps over which the learning rate rises linearly to its full value.');

const constantSchema = z.strictObject({
  type: z.literal('constant').describe('the same rate throughout, after an optional warm-up'),
  num_warmup_steps: warmup.default(0),
});

const linearSchema = z.strictObject({
  type: z.literal('linear').describe('falls in a straight line after an optional warm-up'),
  num_warmup_steps: warmup.default(0),
  num_decay_steps: z
    .int()
    .min(0)
    .default(0)
    .describe(
      "Step at which the rate reaches decay_factor times the optimiser's rate. 0: the run's last step.",
    ),
  decay_factor: z
    .number()
    .min(0)
    .max(1)
    .default(0)
    .describe("Rate at the end and after it, as a fraction of the optimiser's rate."),
});

const cosineSchema = z.strictObject({
  type: z
    .literal('cosine_decay_with_warmup')
    .describe("LeRobot's cosine: warm-up, then half a cosine counted from step 0"),
  num_warmup_steps: warmup.default(1000),
  num_decay_steps: z
    .int()
    .min(1)
    .default(30_000)
    .describe(
      'Step at which the rate has reached decay_lr. When the run is shorter, both lengths shrink with it.',
    ),
  peak_lr: z
    .number()
    .gt(0)
    .default(2.5e-5)
    .describe('Rate that decay_lr is measured against; the rate itself peaks at the lr of the optimiser.'),
  decay_lr: z
    .number()
    .min(0)
    .default(2.5e-6)
    .describe('Rate at the end and after it, on the scale of peak_lr.'),
});

export const schedulerConfigSchema = z.discriminatedUnion('type', [
  constantSchema,
  linearSchema,
  cosineSchema,
]);
export type SchedulerConfig = z.infer<typeof schedulerConfigSchema>;

/** Rules between the fields of a learning-rate schedule; none means a constant rate. */
export function validateScheduler(config: SchedulerConfig | null): Problem[] {
  const problems: Problem[] = [];
  if (config === null || config.type === 'constant') return problems;
  const { num_warmup_steps: warm, num_decay_steps: decay } = config;
  if (decay > 0 && warm > decay) {
    problems.push({
      field: 'scheduler.num_warmup_steps',
      found: warm,
      message: `expected at most scheduler.num_decay_steps (${decay})`,
      related: ['scheduler.num_decay_steps'],
    });
  }
  if (config.type === 'cosine_decay_with_warmup' && config.decay_lr > config.peak_lr) {
    problems.push({
      field: 'scheduler.decay_lr',
      found: config.decay_lr,
      message: `expected at most scheduler.peak_lr (${config.peak_lr})`,
      related: ['scheduler.peak_lr'],
    });
  }
  return problems;
}
