import { join } from 'node:path';
import type { Problem } from '@craft-ft/policies/config';
import { z } from 'zod';
import type { Output } from '../command.js';
import { commandOf } from '../command-of.js';
import { DEMO_POLICIES, DEMOS, type DemoPolicy } from './settings.js';

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
  resume: z
    .boolean()
    .default(false)
    .describe('Go on with an interrupted one: the same flags, and its output_dir.'),
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

interface RunConfig {
  output_dir: string | null;
  resume: boolean;
  seed: number;
  seeds: number;
}

function validateRun({ output_dir: folder, resume }: RunConfig): Problem[] {
  if (!resume || folder !== null) return [];
  return [{ field: 'output_dir', found: null, message: 'expected the folder of the demo to go on with' }];
}

/** `craft quickstart`: the demo with a policy that sees numbers. */
export const quickstartCommand = commandOf({
  name: 'quickstart',
  about: `${STORY} Takes some minutes and needs nothing but this.`,
  schema: z.strictObject(runFields),
  validate: validateRun,
  run: (config, output) => tell('act-state', 'quickstart', config, output),
});

/** `craft demo`: the same demo with a policy that sees images. */
export const demoCommand = commandOf({
  name: 'demo',
  about: `${STORY} With cameras it takes up to an hour on two cores.`,
  schema: z.strictObject({ policy, ...runFields }),
  validate: validateRun,
  run: (config, output) => tell(config.policy, join('demo', config.policy), config, output),
});

async function tell(policy: DemoPolicy, below: string, config: RunConfig, output: Output): Promise<number> {
  const { demo } = await import('./demo.js');
  const { output_dir: folder, ...rest } = config;
  const now = new Date().toISOString().slice(0, 19).replaceAll(':', '-');
  const request = { policy, settings: DEMOS[policy], folder: folder ?? join('outputs', below, now), ...rest };
  return demo(request, output);
}
