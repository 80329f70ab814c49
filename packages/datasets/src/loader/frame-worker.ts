// Entry of the worker threads that decode frames.
import { parentPort, workerData } from 'node:worker_threads';
import { CraftError } from '@craft-ft/torch/errors';
import { FrameDecoder } from './frame-decoder.js';
import type { DecoderSettings, FrameReply, FrameRequest } from './frame-task.js';

const decoder = new FrameDecoder(workerData as DecoderSettings);

parentPort?.on('message', async (request: FrameRequest) => {
  const { id } = request;
  let reply: FrameReply = { id };
  try {
    await decoder.run(request);
  } catch (error) {
    const code = error instanceof CraftError ? error.code : 'LOADER_FAILED';
    reply = { id, error: { code, message: error instanceof Error ? error.message : String(error) } };
  }
  parentPort?.postMessage(reply);
});
