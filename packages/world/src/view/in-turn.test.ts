import { expect, test } from 'vitest';
import { inTurn } from './serve.js';
import type { ViewEpisode, ViewSource } from './view-episode.js';

/** A source whose episodes block until they are released; it logs what it does. */
function slowSource() {
  const done: string[] = [];
  const waiting: (() => void)[] = [];
  const source: ViewSource = {
    name: 'dataset',
    label: 'slow',
    episodes: 9,
    load: async ({ episode }) => {
      done.push(`begin ${episode}`);
      await new Promise<void>((resolve) => waiting.push(resolve));
      done.push(`end ${episode}`);
      return {} as ViewEpisode;
    },
    close: async () => void done.push('close'),
  };
  return { source: inTurn(source), done, release: () => waiting.shift()!() };
}

const request = (episode: number) => ({ task: 'lift', seed: 0, episode }) as const;
const soon = () => new Promise((resolve) => setTimeout(resolve, 5));

test('what nobody waits for any more is passed over, and closing waits for what is under way', async () => {
  const { source, done, release } = slowSource();
  const clients = [0, 1, 2].map(() => new AbortController());
  const loads = clients.map(({ signal }, episode) => source.load(request(episode), signal));
  clients[1]!.abort();
  await soon();
  release();
  await loads[0];
  await expect(loads[1]).rejects.toMatchObject({ code: 'VIEW_STOPPED' });
  const closed = source.close();
  await soon();
  expect(done).toEqual(['begin 0', 'end 0', 'begin 2']);
  release();
  await Promise.all([loads[2], closed]);
  expect(done).toEqual(['begin 0', 'end 0', 'begin 2', 'end 2', 'close']);
});
