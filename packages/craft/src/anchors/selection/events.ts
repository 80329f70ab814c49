/** Actions of one episode. */
export interface EpisodeActions {
  /** Row-major `[length, width]`. */
  readonly actions: ArrayLike<number | bigint>;
  readonly length: number;
  readonly width: number;
}

/** A share of the ends of an action's range within which it counts as open or closed. */
const END = 0.1;

/** A dimension that is at one of its two ends in at least this share of frames is a gripper's. */
const BINARY = 0.9;

/** Weight of a full gripper stroke relative to the largest change of speed. */
const GRIPPER_WEIGHT = 4;

/** Frames on either side of an event that cannot be events themselves. */
const APART = 5;

/**
 * Dimensions of the action that move a gripper: those whose name says so, else those that are nearly always at one of the two ends of
 * their range.
 *
 * @param names names of the dimensions, where the dataset has them
 */
export function gripperDims(episodes: readonly EpisodeActions[], names: unknown): number[] {
  const width = episodes[0]?.width ?? 0;
  const named = Array.isArray(names) && names.length === width ? names.map(String) : null;
  const byName = named?.flatMap((name, dim) => (/grip|claw|finger/i.test(name) ? [dim] : [])) ?? [];
  if (byName.length > 0) return byName;
  return Array.from({ length: width }, (_, dim) => dim).filter((dim) => isBinary(episodes, dim));
}

function isBinary(episodes: readonly EpisodeActions[], dim: number): boolean {
  const [low, high] = range(episodes, dim);
  if (!(high > low)) return false;
  let [atLow, atHigh, total] = [0, 0, 0];
  for (const { actions, length, width } of episodes) {
    for (let t = 0; t < length; t++) {
      const value = (Number(actions[t * width + dim]) - low) / (high - low);
      if (value < END) atLow++;
      if (value > 1 - END) atHigh++;
      total++;
    }
  }
  return atLow > 0 && atHigh > 0 && atLow + atHigh >= BINARY * total;
}

function range(episodes: readonly EpisodeActions[], dim: number): [number, number] {
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const { actions, length, width } of episodes) {
    for (let t = 0; t < length; t++) {
      const value = Number(actions[t * width + dim]);
      low = Math.min(low, value);
      high = Math.max(high, value);
    }
  }
  return [low, high];
}

/**
 * How much happens at each frame: strokes of the grippers, and changes of speed of everything else (second differences of the action),
 * each relative to the range of its dimension.
 *
 * @returns one score per frame of each episode
 */
export function eventScores(
  episodes: readonly EpisodeActions[],
  grippers: readonly number[],
): Float64Array[] {
  const width = episodes[0]?.width ?? 0;
  const spans = Array.from({ length: width }, (_, dim) => {
    const [low, high] = range(episodes, dim);
    return high - low;
  });
  const moving = spans.flatMap((span, dim) => (span > 0 && !grippers.includes(dim) ? [dim] : []));
  return episodes.map(({ actions, length }) => {
    const at = (t: number, dim: number) =>
      Number(actions[Math.min(Math.max(t, 0), length - 1) * width + dim]);
    return Float64Array.from({ length }, (_, t) => {
      let bend = 0;
      for (const dim of moving) {
        const change = at(t + 1, dim) - 2 * at(t, dim) + at(t - 1, dim);
        bend = Math.max(bend, Math.abs(change) / spans[dim]!);
      }
      let stroke = 0;
      for (const dim of grippers) {
        if (spans[dim]! > 0) stroke = Math.max(stroke, Math.abs(at(t, dim) - at(t - 1, dim)) / spans[dim]!);
      }
      return bend + GRIPPER_WEIGHT * stroke;
    });
  });
}

/**
 * Frames where most happens: the peaks of {@link eventScores}, highest first and at least five frames apart, over all episodes; once
 * there are no more peaks, the highest of the other frames.
 *
 * @param count at most the number of frames
 * @returns frames counted over all episodes, ascending; deterministic
 */
export function eventSelection(
  episodes: readonly EpisodeActions[],
  grippers: readonly number[],
  count: number,
): number[] {
  const scores = eventScores(episodes, grippers);
  const frames = scores.flatMap((episode, e) => {
    const first = scores.slice(0, e).reduce((sum, other) => sum + other.length, 0);
    return Array.from(episode, (score, t) => ({ frame: first + t, episode: e, t, score }));
  });
  frames.sort((a, b) => b.score - a.score || a.frame - b.frame);
  const taken = scores.map((episode) => new Uint8Array(episode.length));
  const peaks: number[] = [];
  const rest: number[] = [];
  for (const { frame, episode, t } of frames) {
    const near = taken[episode]!.subarray(Math.max(0, t - APART), t + APART + 1).includes(1);
    if (near || peaks.length === count) rest.push(frame);
    else {
      taken[episode]![t] = 1;
      peaks.push(frame);
    }
  }
  return [...peaks, ...rest.slice(0, count - peaks.length)].sort((a, b) => a - b);
}
