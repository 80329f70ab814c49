import { requireViewer, type ViewSource } from './view-episode.js';

/**
 * The same source, asked one thing at a time, in the order of the calls: closing it waits for what is under way. An episode that nobody
 * waits for any more when its turn comes is passed over.
 */
export function inTurn(source: ViewSource): ViewSource {
  let turn: Promise<unknown> = Promise.resolve();
  const queued = <T>(work: () => Promise<T>): Promise<T> => {
    const result = turn.then(work);
    turn = result.catch(() => {});
    return result;
  };
  const { name, label, episodes } = source;
  return {
    name,
    label,
    episodes,
    load: (request, signal) =>
      queued(async () => {
        requireViewer(signal);
        return source.load(request, signal);
      }),
    ...(source.picture === undefined
      ? {}
      : { picture: (episode, frame, camera) => queued(() => source.picture!(episode, frame, camera)) }),
    close: () => queued(() => source.close()),
  };
}
