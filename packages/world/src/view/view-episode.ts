import { CraftError } from '@craft-ft/torch/errors';
import type { Simulation } from '../engine/simulation.js';
import type { TabletopTask } from '../names.js';

/** A moment: everything MuJoCo needs to draw it and to continue from it. */
export interface ViewFrame {
  qpos: number[];
  qvel: number[];
  /** The targets of the servos, radians. */
  ctrl: number[];
}

/** A recorded image. */
export interface Picture {
  /** Row by row from the top left. */
  rgb: Uint8Array;
  width: number;
  height: number;
}

/** An episode as the page plays it. */
export interface ViewEpisode {
  /** null if a recording's instruction is not one of the tabletop's. */
  task: TabletopTask | null;
  instruction: string;
  /** Frames per second. */
  fps: number;
  /** How it ended; null if that is unknown. */
  success: boolean | null;
  /** Positions of the bins, the button and the strips, metres: [3 × objects]; constant within an episode. */
  mocap: number[];
  /** The start and the moment after each action. */
  frames: ViewFrame[];
  /** Keys of the cameras whose images were recorded. */
  recorded: string[];
  /** What a viewer should know; null: nothing. */
  note: string | null;
}

/** Which episode is requested. */
export interface EpisodeRequest {
  task: TabletopTask;
  seed: number;
  /** Of a dataset. */
  episode: number;
}

/** A source of episodes. Calls are made one at a time. */
export interface ViewSource {
  readonly name: 'expert' | 'policy' | 'dataset';
  /** Display name. */
  readonly label: string;
  /** The number of episodes; null: one for every task and seed. */
  readonly episodes: number | null;
  /** @throws CraftError for what cannot be shown; `VIEW_STOPPED` once `signal` says that nobody is waiting any more */
  load(request: EpisodeRequest, signal: AbortSignal): Promise<ViewEpisode>;
  /** Undefined in a source without recorded images. */
  picture?(episode: number, frame: number, camera: string): Promise<Picture>;
  close(): Promise<void>;
}

/** The page's first request: what is available, and what to show first. */
export interface ViewSetup {
  sources: { name: ViewSource['name']; label: string; episodes: number | null }[];
  tasks: { name: TabletopTask; instruction: string }[];
  first: EpisodeRequest & { source: ViewSource['name'] };
}

/** Call before doing work for a viewer. @throws CraftError `VIEW_STOPPED` once `signal` says that nobody is waiting any more */
export function requireViewer(signal: AbortSignal): void {
  if (signal.aborted) throw new CraftError('VIEW_STOPPED', 'nobody waits for this episode any more');
}

/** The current state of the simulation. */
export function captureFrame({ data }: Simulation): ViewFrame {
  return {
    qpos: Array.from(data.qpos as Float64Array),
    qvel: Array.from(data.qvel as Float64Array),
    ctrl: Array.from(data.ctrl as Float64Array),
  };
}

/** Restores a state. */
export function showFrame(simulation: Simulation, mocap: readonly number[], frame: ViewFrame): void {
  simulation.resetState();
  const { data } = simulation;
  (data.mocap_pos as Float64Array).set(mocap);
  (data.qpos as Float64Array).set(frame.qpos);
  (data.qvel as Float64Array).set(frame.qvel);
  (data.ctrl as Float64Array).set(frame.ctrl);
  simulation.forward();
}
