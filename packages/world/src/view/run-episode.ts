import { setImmediate } from 'node:timers/promises';
import type { Observation } from '../environment.js';
import type { TabletopEnvironment } from '../tabletop/environment.js';
import { captureFrame, requireViewer, type ViewEpisode } from './view-episode.js';

/** Runs an episode and keeps every moment of it. Other requests are answered in between. */
export async function runEpisode(
  environment: TabletopEnvironment,
  seed: number,
  begin: () => (observation: Observation) => ArrayLike<number>,
  signal: AbortSignal,
): Promise<ViewEpisode> {
  const { simulation } = environment;
  let { observation } = environment.reset(seed);
  const act = begin();
  const mocap = Array.from(simulation.data.mocap_pos as Float64Array);
  const frames = [captureFrame(simulation)];
  for (;;) {
    const step = environment.step(act(observation));
    observation = step.observation;
    frames.push(captureFrame(simulation));
    if (step.terminated || step.truncated) {
      const { task, instruction, fps } = environment;
      const { success } = step.info;
      return { task, instruction, fps, success, mocap, frames, recorded: [], note: null };
    }
    await setImmediate();
    requireViewer(signal);
  }
}
