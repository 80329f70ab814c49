// Run in a process of its own by the tests of the writer, to be killed.
import { setTimeout } from 'node:timers/promises';
import { addFrame, cameraWriter, recordEpisodes } from './cameras.js';

/** Saves two episodes and then records a third without end. */
export async function main(root: string): Promise<void> {
  const writer = cameraWriter(root);
  await recordEpisodes(writer, [4, 3]);
  for (let frame = 0; ; frame++) {
    addFrame(writer, 2, frame);
    if (frame === 40) process.stdout.write('recording\n');
    await setTimeout(1);
  }
}
