import { join } from 'node:path';
import { z } from 'zod';
import { commandOf } from '../command-of.js';
import { DEMO_POLICIES, DEMOS, type DemoPolicy } from '../demo/settings.js';
import type { Output } from '../main.js';

const STORY =
  'Shows what fine-tuning forgets. In a simulated world, a policy learns to put a cube into the red bin, is then fine-tuned on the ' +
  'blue bin in three ways (plain, with replay, with CRaFT), and is asked for both.';

const runFields = {
  output_dir: z
    .string()
    .min(1)
    .nullable()
    .default(null)
    .describe(
      'Folder for datasets, runs, videos and the page. null: a new one below outputs/, named after the command.',
    ),
  seed: z.int().min(0).default(1000).describe('Decides everything: demonstrations, weights, tests.'),
  seeds: z.int().min(1).default(1).describe('Repeat all of it with this many seeds, from seed on.'),
};

const policy = z
  .enum(DEMO_POLICIES)
  .default('act-vision')
  .describe(
    'Which policy: act-state is the quickstart (joints and poses, no pictures); act-vision is ACT with two 96×96 cameras; ' +
      'pi0-fast is the smallest vision-language-action model with the same cameras.',
  );

/** `craft quickstart`: the story with a policy that sees numbers. */
export const quickstartCommand = commandOf({
  name: 'quickstart',
  about: `${STORY} Takes some minutes and needs nothing but this.`,
  schema: z.strictObject(runFields),
  run: (config, output) => tell('act-state', 'quickstart', config, output),
});

/** `craft demo`: the same story with a policy that sees pictures. */
export const demoCommand = commandOf({
  name: 'demo',
  about: `${STORY} With cameras it takes up to an hour on two cores.`,
  schema: z.strictObject({ policy, ...runFields }),
  run: (config, output) => tell(config.policy, join('demo', config.policy), config, output),
});

interface RunConfig {
  output_dir: string | null;
  seed: number;
  seeds: number;
}

async function tell(policy: DemoPolicy, below: string, config: RunConfig, output: Output): Promise<number> {
  const { demo } = await import('../demo/demo.js');
  const { seed, seeds, output_dir: folder } = config;
  const now = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  return demo(
    { settings: DEMOS[policy], seed, seeds, folder: folder ?? join('outputs', below, now) },
    output,
  );
}
