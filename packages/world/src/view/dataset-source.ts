import { basename } from 'node:path';
import { FrameLoader, LeRobotDataset, LeRobotDatasetMetadata, subsetIndex } from '@craft-ft/datasets';
import { CraftError } from '@craft-ft/torch/errors';
import { Simulation } from '../engine/simulation.js';
import { INSTRUCTIONS, TABLETOP_TASKS } from '../names.js';
import { ARM_JOINTS, ARM_SIZE, toRadians } from '../tabletop/arm.js';
import { CUBE, SHELF, TABLETOP_XML } from '../tabletop/scene.js';
import { CUBES, ENVIRONMENT_STATE_NAMES, TabletopView } from '../tabletop/view.js';
import {
  captureFrame,
  type EpisodeRequest,
  type Picture,
  type ViewEpisode,
  type ViewSource,
} from './view-episode.js';

const STATE = 'observation.state';
const THINGS = 'observation.environment_state';
const ROBOT = 'so101_tabletop';

interface OpenEpisode {
  index: number;
  dataset: LeRobotDataset;
  loader: FrameLoader | null;
}

/**
 * Recorded episodes: the arm as in `observation.state`, the objects as in `observation.environment_state` if it is there, and the recorded
 * images. Nothing is simulated.
 *
 * @param root folder of a LeRobot dataset
 * @throws CraftError `DATASET_…`, `VIEW_DATASET` if the data was recorded with a different robot
 */
export async function datasetSource(root: string): Promise<ViewSource> {
  const metadata = await LeRobotDatasetMetadata.load(root, { onWarning: () => {} });
  const width = metadata.features[STATE]?.shape[0];
  if (width !== ARM_SIZE) {
    const found = width === undefined ? `no "${STATE}"` : `${width} numbers in "${STATE}"`;
    throw new CraftError(
      'VIEW_DATASET',
      `${root}: the dataset has ${found}; expected the ${ARM_SIZE} joints of an SO-101, as craft world record writes them`,
    );
  }
  return new DatasetSource(metadata, await Simulation.create(TABLETOP_XML, 'tabletop'));
}

class DatasetSource implements ViewSource {
  readonly name = 'dataset';
  readonly label: string;
  readonly episodes: number;
  readonly #metadata: LeRobotDatasetMetadata;
  readonly #simulation: Simulation;
  readonly #view: TabletopView;
  readonly #cameras: readonly string[];
  #open: OpenEpisode | null = null;

  constructor(metadata: LeRobotDatasetMetadata, simulation: Simulation) {
    const features = Object.entries(metadata.features);
    this.label = `Recording ${basename(metadata.root)}`;
    this.episodes = metadata.episodes.length;
    this.#metadata = metadata;
    this.#simulation = simulation;
    this.#view = new TabletopView(simulation);
    this.#cameras = features
      .filter(([, { dtype }]) => dtype === 'video' || dtype === 'image')
      .map(([key]) => key);
  }

  async load({ episode }: EpisodeRequest): Promise<ViewEpisode> {
    const { dataset, loader } = await this.#episode(episode);
    const { columns, tasks } = dataset.batch(
      Array.from({ length: dataset.length }, (_, frame) => subsetIndex(frame)),
    );
    const row = (key: string, frame: number): number[] | null => {
      const column = columns[key];
      if (column === undefined) return null;
      const width = column.data.length / tasks.length;
      return Array.from({ length: width }, (_, i) => Number(column.data[frame * width + i]));
    };
    const names = this.#thingNames();
    const frames = tasks.map((_, frame) => {
      const things = (row(THINGS, frame) ?? []).map((value, i) => [names[i]!, value] as const);
      placeRecorded(this.#view, { state: row(STATE, frame)!, things: Object.fromEntries(things) });
      const action = row('action', frame);
      if (action !== null) this.#view.command(action);
      return captureFrame(this.#simulation);
    });
    const [instruction = ''] = tasks;
    return {
      task: TABLETOP_TASKS.find((task) => INSTRUCTIONS[task] === instruction) ?? null,
      instruction,
      fps: dataset.fps,
      success: null,
      mocap: Array.from(this.#simulation.data.mocap_pos as Float64Array),
      frames,
      recorded: loader === null ? [] : [...this.#cameras],
      note: this.#note(loader !== null),
    };
  }

  async picture(episode: number, frame: number, camera: string): Promise<Picture> {
    const { dataset, loader } = await this.#episode(episode);
    const known = this.#cameras.includes(camera) && frame < dataset.length;
    if (loader === null || !known) {
      const where = `${this.#metadata.root}, episode ${episode}`;
      throw new CraftError('VIEW_PICTURE', `${where}: there is no picture of "${camera}" at frame ${frame}`);
    }
    return (await loader.load([subsetIndex(frame)]))[camera]!;
  }

  async close(): Promise<void> {
    await this.#open?.loader?.close();
    this.#simulation.dispose();
  }

  /** Only one episode is open at a time. @throws CraftError `DATASET_EPISODES` if there is no such episode */
  async #episode(index: number): Promise<OpenEpisode> {
    const open = this.#open;
    // Images that were missing may have arrived meanwhile.
    if (open?.index === index && (open.loader !== null || this.#cameras.length === 0)) return open;
    this.#metadata.episode(index);
    const { root, fps } = this.#metadata;
    const keys = [STATE];
    if (this.#thingNames().length > 0) keys.push(THINGS);
    if (this.#metadata.features.action?.shape[0] === ARM_SIZE) keys.push('action');
    const dataset = await LeRobotDataset.open({ root, episodes: [index], keys, onWarning: () => {} });
    const loader = this.#openPictures(dataset, fps);
    await open?.loader?.close();
    this.#open = { index, dataset, loader };
    return this.#open;
  }

  /** null if there are none: a dataset is often copied without its videos. */
  #openPictures(dataset: LeRobotDataset, fps: number): FrameLoader | null {
    const cameras = this.#cameras;
    if (cameras.length === 0) return null;
    try {
      return new FrameLoader(dataset, { cameras, numWorkers: 0, toleranceS: 0.5 / fps });
    } catch (error) {
      if (error instanceof CraftError && error.code === 'VIDEO_MISSING') return null;
      throw error;
    }
  }

  /** Names of the values in `observation.environment_state` if it is the tabletop's; otherwise none. */
  #thingNames(): readonly string[] {
    const names = this.#metadata.features[THINGS]?.names;
    return Array.isArray(names) && names.includes(ENVIRONMENT_STATE_NAMES[0]) ? (names as string[]) : [];
  }

  #note(pictures: boolean): string | null {
    const { robotType } = this.#metadata;
    const notes: string[] = [];
    if (robotType !== ROBOT)
      notes.push(`recorded on ${robotType ?? 'an unnamed robot'}: units are taken for degrees`);
    if (this.#thingNames().length === 0)
      notes.push('the dataset does not say where things are: only the arm moves');
    if (this.#cameras.length > 0 && !pictures) notes.push('its videos are not here');
    return notes.length === 0 ? null : notes.join('; ');
  }
}

/** The numbers of a frame. */
interface RecordedFrame {
  /** `observation.state`. */
  state: readonly number[];
  /** `observation.environment_state` by the names of its numbers; what is missing was not recorded. */
  things: Readonly<Record<string, number>>;
}

/** Positions of hidden objects: apart from each other, or a cube would lie in a bin there. */
const AWAY: Readonly<Record<string, readonly [number, number]>> = {
  green_cube: [0, 0],
  yellow_cube: [0.1, 0],
  red_bin: [0.15, 0.15],
  blue_bin: [0.15, -0.15],
  button: [0, 0.15],
};

/** Puts everything where a recorded frame says, the inverse of `environmentState`; objects it does not name are hidden. */
export function placeRecorded(view: TabletopView, { state, things }: RecordedFrame): void {
  view.setAngles(ARM_JOINTS.map((_, joint) => toRadians(joint, state[joint]!)));
  const value = (name: string) => things[name] ?? 0;
  for (const cube of CUBES) {
    const [cos, sin] = [value(`${cube}_cos`), value(`${cube}_sin`)];
    const here = cos !== 0 || sin !== 0;
    const place = [value(`${cube}_x`), value(`${cube}_y`), value(`${cube}_z`)] as const;
    view.placeCube(cube, here ? place : [...AWAY[cube]!, SHELF + CUBE], here ? Math.atan2(sin, cos) : 0);
  }
  const isHere = (name: string) => value(`${name}_x`) !== 0 || value(`${name}_y`) !== 0;
  for (const name of ['red_bin', 'blue_bin', 'button'] as const) {
    const place = [value(`${name}_x`), value(`${name}_y`), 0] as const;
    view.placeFixture(name, isHere(name) ? place : [...AWAY[name]!, SHELF]);
  }
  // The strips belong to the scene with the button.
  view.placeFixture('zones', [0, 0, isHere('button') ? 0 : SHELF]);
  view.pressed = value('button_pressed');
}
