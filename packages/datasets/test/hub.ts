import { rmSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, vi } from 'vitest';
import { FakeHub } from './fake-hub.js';

/** Patience for tests: repetitions without waiting. */
export const quick = { tries: 3, delayMs: 1, timeoutMs: 2000 };

/** A fake Hub for each test, which HF_ENDPOINT names, and an empty HF_HOME. */
export function withFakeHub(): { readonly hub: FakeHub; readonly home: string } {
  const context = {} as { hub: FakeHub; home: string };
  beforeEach(async () => {
    context.hub = await FakeHub.start();
    context.home = await mkdtemp(join(tmpdir(), 'craft-hub-'));
    vi.stubEnv('HF_ENDPOINT', `${context.hub.url}/`);
    vi.stubEnv('HF_HOME', context.home);
    for (const name of [
      'HF_TOKEN',
      'HUGGING_FACE_HUB_TOKEN',
      'HF_TOKEN_PATH',
      'HF_HUB_OFFLINE',
      'HF_LEROBOT_HOME',
    ]) {
      vi.stubEnv(name, '');
    }
  });
  afterEach(async () => {
    vi.unstubAllEnvs();
    await context.hub.stop();
    rmSync(context.home, { recursive: true, force: true });
  });
  return context;
}
