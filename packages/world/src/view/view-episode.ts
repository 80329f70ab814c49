import { CraftError } from '@craft-ft/torch/errors';
import type { Simulation } from '../engine/simulation.js';
import type { TabletopTask } from '../names.js';

/** A moment: all that MuJoCo needs to draw it, and to go on from it. */
export interface ViewFrame {
  qpos: number[];
  qvel: number[];
  /** What the servos aim at, radians. */
  ctrl: number[];
}

/** A recorded picture. */
export interface Picture {
  /** Row by row from the top left. */
  rgb: Uint8Array;
  width: number;
  height: number;
}

/** An episode as the page plays it. */
export interface ViewEpisode {
  /** null where a recording's instruction is none of the tabletop's. */
  task: TabletopTask | null;
  instruction: string;
  /** Frames per second. */
  fps: number;
  /** How it ended; null where that is not known. */
  success: boolean | null;
  /** Places of the bins, the button and the strips, metres: [3 × things]; they stay for an episode. */
  mocap: number[];
  /** The start and the moment after each action. */
  frames: ViewFrame[];
  /** Keys of the cameras whose pictures were recorded. */
  recorded: string[];
  /** What a viewer should know; null: nothing. */
  note: string | null;
}

/** Which episode is wanted. */
export interface EpisodeRequest {
  task: TabletopTask;
  seed: number;
  /** Of a dataset. */
  episode: number;
}

/** Where episodes come from. Calls are made one at a time. */
export interface ViewSource {
  readonly name: 'expert' | 'policy' | 'dataset';
  /** For people. */
  readonly label: string;
  /** How many there are; null: one for every task and seed. */
  readonly episodes: number | null;
  /** @throws CraftError for what cannot be shown; `VIEW_STOPPED` once `signal` says that nobody waits any more */
  load(request: EpisodeRequest, signal: AbortSignal): Promise<ViewEpisode>;
  /** Undefined in a source without recorded pictures. */
  picture?(episode: number, frame: number, camera: string): Promise<Picture>;
  close(): Promise<void>;
}

/** The page's first question: what there is, and what to show first. */
export interface ViewSetup {
  sources: { name: ViewSource['name']; label: string; episodes: number | null }[];
  tasks: { name: TabletopTask; instruction: string }[];
  first: EpisodeRequest & { source: ViewSource['name'] };
}

/** Before work for somebody. @throws CraftError `VIEW_STOPPED` once `signal` says that nobody waits any more */
export function requireViewer(signal: AbortSignal): void {
  if (signal.aborted) throw new CraftError('VIEW_STOPPED', 'nobody waits for this episode any more');
}

/** The simulation's present moment. */
export function captureFrame({ data }: Simulation): ViewFrame {
  return {
    qpos: Array.from(data.qpos as Float64Array),
    qvel: Array.from(data.qvel as Float64Array),
    ctrl: Array.from(data.ctrl as Float64Array),
  };
}

/** Puts a moment back. */
export function showFrame(simulation: Simulation, mocap: readonly number[], frame: ViewFrame): void {
  simulation.resetState();
  const { data } = simulation;
  (data.mocap_pos as Float64Array).set(mocap);
  (data.qpos as Float64Array).set(frame.qpos);
  (data.qvel as Float64Array).set(frame.qvel);
  (data.ctrl as Float64Array).set(frame.ctrl);
  simulation.forward();
}
