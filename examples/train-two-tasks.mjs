// Trains a small ACT policy on one task, then fine-tunes it on a second one, plainly and with CRaFT, through the library
// instead of the command line. The data are made here; everything goes into a temporary folder, deleted at the end.
//
//   node examples/train-two-tasks.mjs
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CraftStrategy, craftConfigSchema, createAnchorDataLoader } from '@craft-ft/craft';
import { LeRobotDatasetWriter } from '@craft-ft/datasets';
import { parsePolicyConfig, readPolicyConfig } from '@craft-ft/policies';
import * as torch from '@craft-ft/torch';
import {
  BaselineStrategy,
  prepareTraining,
  resolveTrainConfig,
  train,
  trainConfigSpec,
} from '@craft-ft/training';

torch.configureRuntime();

// Tensors this small are faster on one thread.
torch.setNumThreads(1);
const STEPS = 300;
const folder = mkdtempSync(join(tmpdir(), 'craft-example-'));

/** A point on a line moves to its goal, which is +1 in one task and −1 in the other. */
function record(name, goal) {
  const root = join(folder, `data-${name}`);
  const writer = LeRobotDatasetWriter.create({
    root,
    fps: 10,
    features: {
      'observation.state': { dtype: 'float32', shape: [1], names: ['position'] },
      // Not normalised, so that it may be constant within a task.
      'observation.environment_state': { dtype: 'float32', shape: [1], names: ['goal'] },
      action: { dtype: 'float32', shape: [1], names: ['velocity'] },
    },
  });
  for (let episode = 0; episode < 20; episode++) {
    let position = -1.5 + episode * 0.15;
    for (let frame = 0; frame < 30; frame++) {
      const velocity = Math.max(-0.2, Math.min(0.2, goal - position));
      writer.addFrame({
        'observation.state': [position],
        'observation.environment_state': [goal],
        action: [velocity],
        task: `go ${name}`,
      });
      position += velocity;
    }
    writer.saveEpisode();
  }
  writer.finalize();
  return { repo_id: `example/${name}`, root, episodes: null, exclude_episodes: null };
}

const right = record('right', 1);
const left = record('left', -1);

const smallAct = {
  type: 'act',
  chunk_size: 4,
  n_action_steps: 4,
  dim_model: 32,
  n_heads: 2,
  dim_feedforward: 64,
  n_encoder_layers: 1,
  use_vae: false,
  dropout: 0,
};

/** Hold the loss on the old task where it was before fine-tuning. */
const craft = craftConfigSchema.parse({
  enabled: true,
  anchor_dataset_path: right.root,
  retention_freq: 1,
  epsilon_mode: 'relative',
  epsilon_start: 1,
  epsilon_end: 1,
});

/** Batches of another dataset than the run's own, ready for its policy; closed with the run. */
async function batchesOf(choice, { policy, processors, keep }, batchSize, seed) {
  return keep(await createAnchorDataLoader({ datasets: [{ choice }], policy, processors, batchSize, seed }));
}

/** Mean loss of a policy over some batches, without learning. */
function meanLoss(policy, stream) {
  policy.eval();
  let sum = 0;
  for (let i = 0; i < 8; i++) {
    sum += torch.scope(() => torch.noGrad(() => policy.call(stream.batch(i)).loss.item()));
  }
  return (sum / 8).toFixed(4);
}

/** One training; prints the loss on both tasks at its end. @returns its last checkpoint */
async function run(title, name, dataset, policy, method) {
  // The fields of `craft train`; what is absent gets its default.
  const { config } = resolveTrainConfig(
    {
      dataset: { repo_id: dataset.repo_id, root: dataset.root },
      policy,
      output_dir: join(folder, name),
      steps: STEPS,
      batch_size: 32,
      save_freq: 0,
      log_freq: 0,
      optimizer: { lr: 1e-3 },
      scheduler: { type: 'linear' },
    },
    trainConfigSpec,
  );
  let onRight;
  let onLeft;
  const prepared = await prepareTraining(config, {
    makeStrategy: async (context) => {
      onRight = await batchesOf(right, context, 64, 7);
      onLeft = await batchesOf(left, context, 64, 7);
      return method(context);
    },
  });
  const { checkpoint } = await train(prepared);
  const { policy: trained } = prepared;
  console.log(
    `${title.padEnd(20)} loss on right ${meanLoss(trained, onRight)}, on left ${meanLoss(trained, onLeft)}`,
  );
  for (const line of await prepared.strategy.summary()) console.log(`  ${line}`);
  return checkpoint;
}

const plain = async ({ policy, optimization }) => new BaselineStrategy(policy, optimization);

async function constrained(context) {
  const anchors = await batchesOf(right, context, craft.anchor_batch_size, 11);
  return new CraftStrategy({ ...context, anchors, config: craft, steps: context.config.steps });
}

const fresh = parsePolicyConfig(smallAct, 'smallAct');
const first = await run('trained on right', 'base', right, fresh, plain);
const { dir, config } = readPolicyConfig(first);
const pretrained = { ...config, pretrained_path: dir };
await run('then left, plainly', 'plain', left, pretrained, plain);
await run('then left, CRaFT', 'craft', left, pretrained, constrained);
rmSync(folder, { recursive: true });
