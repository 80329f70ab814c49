// One side of loader: samples per second of the loader alone, then how long training waits. Usage: loader.mjs WORKERS DATASET EPISODES
// STEPS
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as torch from '../../packages/torch/dist/index.js';
import * as training from '../../packages/training/dist/index.js';

torch.configureRuntime();

const [workers, root, episodes, steps] = [
  Number(process.argv[2]),
  process.argv[3],
  JSON.parse(process.argv[4]),
  Number(process.argv[5]),
];
const BATCH = 8;
const BATCHES = 40;

const output = mkdtempSync(join(tmpdir(), 'craft-bench-'));
const prepare = (name) => {
  const { config } = training.resolveTrainConfig(
    {
      dataset: { repo_id: 'bench/loader', root, episodes, image_size: [240, 320] },
      policy: { type: 'act', device: 'cpu', pretrained_backbone_weights: null },
      output_dir: join(output, name),
      num_workers: workers,
      batch_size: BATCH,
      steps,
      log_freq: 1,
      save_checkpoint: false,
    },
    training.trainConfigSpec,
  );
  return training.prepareTraining(config, { onWarning: () => {} });
};

/** Batches as the policy receives them, one after the other; nothing is done with them. */
async function alone() {
  const { data, close } = await prepare('loader');
  const take = async (step) => {
    await data.ready(step);
    torch.scope(() => data.batch(step));
  };
  for (let step = 0; step < 4; step++) await take(step);
  const start = performance.now();
  for (let step = 4; step < 4 + BATCHES; step++) await take(step);
  const rate = (BATCHES * BATCH * 1000) / (performance.now() - start);
  await close();
  return rate;
}

/** Means over the training steps without the first, whose frames could not be prefetched. */
async function measureTraining() {
  const run = await prepare('training');
  const log = [];
  await training.train(run, { onLog: (record) => log.push(record) });
  await run.close();
  const mean = (key) => log.slice(1).reduce((sum, record) => sum + record[key], 0) / (log.length - 1);
  return { dataloading_s: mean('dataloading_s'), update_s: mean('update_s') };
}

const samples = await alone();
const { dataloading_s, update_s } = await measureTraining();
rmSync(output, { recursive: true, force: true });
const waiting = (100 * dataloading_s) / (dataloading_s + update_s);
console.log(JSON.stringify({ samples, dataloading_s, update_s, waiting }));
