// One side of the benchmark `world`: prints one JSON line.
import { TABLETOP_TASKS, TabletopEnvironment } from '../../packages/world/dist/index.js';

const SECONDS = 2;

/** Calls per second of CPU time, so that other programs on the machine do not count. */
function rate(body, seconds = SECONDS) {
  for (let i = 0; i < 100; i++) body();
  const begin = process.cpuUsage();
  for (let calls = 1; ; calls++) {
    body();
    const { user, system } = process.cpuUsage(begin);
    const used = (user + system) / 1e6;
    if (used >= seconds) return calls / used;
  }
}

/** Control steps per second, over consecutive episodes. */
async function steps(cameras) {
  const env = await TabletopEnvironment.create({ task: 'lift', cameras });
  let home = env.reset(0).observation['observation.state'];
  let left = env.maxSteps;
  const perSecond = rate(() => {
    if (left-- === 0) {
      home = env.reset(0).observation['observation.state'];
      left = env.maxSteps - 1;
    }
    env.step(home);
  });
  env.dispose();
  return perSecond;
}

async function camera(shadows) {
  const env = await TabletopEnvironment.create({ task: 'lift', cameras: ['top'], shadows });
  const perSecond = rate(() => env.reset(0));
  const bare = await TabletopEnvironment.create({ task: 'lift' });
  const without = rate(() => bare.reset(0), 0.5);
  env.dispose();
  bare.dispose();
  return 1000 / perSecond - 1000 / without;
}

/** Success rate of the expert over the starts, and its time per episode. */
async function experts(episodes) {
  const results = {};
  for (const task of TABLETOP_TASKS) {
    const env = await TabletopEnvironment.create({ task });
    let successes = 0;
    let length = 0;
    const begin = performance.now();
    for (let seed = 0; seed < episodes; seed++) {
      env.reset(seed);
      const expert = env.expert({ seed });
      let step;
      do {
        step = env.step(expert.act());
        length++;
      } while (!step.terminated && !step.truncated);
      if (step.info.success) successes++;
    }
    const ms = (performance.now() - begin) / episodes;
    results[task] = { successes, episodes, ms_per_episode: ms, steps_per_episode: length / episodes };
    env.dispose();
  }
  return results;
}

const control = await steps([]);
console.log(
  JSON.stringify({
    control_steps_per_s: control,
    physics_steps_per_s: 20 * control,
    camera_ms: await camera(false),
    camera_shadow_ms: await camera(true),
    experts: await experts(Number(process.argv[2] ?? 200)),
  }),
);
