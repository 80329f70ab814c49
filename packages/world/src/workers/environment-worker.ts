// Entry of the worker threads that run environments.
import { parentPort } from 'node:worker_threads';
import { CraftError } from '@craft-ft/torch/errors';
import { EnvironmentHost } from './host.js';
import type { HostReply, HostRequest } from './messages.js';

const host = new EnvironmentHost();

parentPort?.on('message', async ({ id, method, args }: HostRequest) => {
  let reply: HostReply;
  try {
    const call = host[method] as (...values: unknown[]) => unknown;
    reply = { id, value: await call.apply(host, args) };
  } catch (error) {
    const code = error instanceof CraftError ? error.code : 'ENV_WORKER';
    reply = { id, error: { code, message: error instanceof Error ? error.message : String(error) } };
  }
  parentPort?.postMessage(reply);
});
