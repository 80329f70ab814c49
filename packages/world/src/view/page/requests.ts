import type { EpisodeRequest, Picture, ViewEpisode, ViewSetup } from '../view-episode.js';

async function ask(
  path: string,
  query: Record<string, string | number>,
  signal?: AbortSignal,
): Promise<Response> {
  const words = Object.entries(query).map(([name, value]) => [name, String(value)]);
  const address = words.length === 0 ? path : `${path}?${new URLSearchParams(words)}`;
  const response = await fetch(address, signal === undefined ? {} : { signal });
  if (!response.ok) throw new Error((await response.text()).trim() || response.statusText);
  return response;
}

/** What the server has. */
export async function fetchSetup(): Promise<ViewSetup> {
  return (await ask('/api/setup', {})).json() as Promise<ViewSetup>;
}

/** A whole episode; the server may have to run it first. */
export async function fetchEpisode(
  source: string,
  request: EpisodeRequest,
  signal: AbortSignal,
): Promise<ViewEpisode> {
  return (await ask('/api/episode', { source, ...request }, signal)).json() as Promise<ViewEpisode>;
}

/** A recorded image. */
export async function fetchPicture(
  source: string,
  episode: number,
  frame: number,
  camera: string,
): Promise<Picture> {
  const response = await ask('/api/picture', { source, episode, frame, camera });
  const size = (name: string) => Number(response.headers.get(name));
  return {
    rgb: new Uint8Array(await response.arrayBuffer()),
    width: size('x-width'),
    height: size('x-height'),
  };
}
