// For a process of its own: loads frames with two workers, and leaves the loader closed, idle or busy.
import { LeRobotDataset } from '../src/dataset/dataset.js';
import { subsetIndex } from '../src/dataset/indices.js';
import { FrameLoader } from '../src/loader/frame-loader.js';
import { CAMERA } from './cameras.js';

export async function main(root: string, state: string): Promise<void> {
  const dataset = await LeRobotDataset.open({ root, keys: ['observation.state'] });
  if (state.startsWith('closed')) process.exitCode = 2;
  const loader = new FrameLoader(dataset, { cameras: [CAMERA], numWorkers: 2 });
  const rows = Array.from({ length: dataset.length }, (_, i) => subsetIndex(i));
  await loader.load(rows);
  console.log(`loaded ${rows.length} frames`);
  if (state === 'closed') {
    await loader.close();
    process.exitCode = 0;
  }
  if (state === 'closed in the middle of work') {
    // No batch waits for long: the threads' own replies come while they are being ended.
    for (let i = 0; i < 20; i++) {
      const busy = new FrameLoader(dataset, { cameras: [CAMERA], numWorkers: 1 });
      await busy.load(rows);
      busy.load(rows).catch(() => {});
      await new Promise((resolve) => setImmediate(resolve));
      await busy.close();
    }
    await loader.close();
    process.exitCode = 0;
  }
  if (state !== 'busy') return;
  for (let i = 0; i < 200; i++) loader.load(rows).catch(() => {});
  // Ends in the middle of the work, as Ctrl-C twice does.
  setTimeout(() => process.exit(0), 30);
  await new Promise(() => {});
}
