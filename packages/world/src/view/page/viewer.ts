import { Simulation } from '../../engine/simulation.js';
import { TABLETOP_XML } from '../../tabletop/scene.js';
import { achievedTasks } from '../../tabletop/tasks.js';
import { TabletopView } from '../../tabletop/view.js';
import { showFrame, type ViewEpisode } from '../view-episode.js';
import { CameraPanel, element, JointPanel } from './panels.js';
import { Player, verdict } from './player.js';
import { Stage } from './stage.js';

/** If physics falls behind by more than this, it does not catch up, seconds. */
const LAG = 0.1;

/** What is shown: an episode, frame by frame, or physics continuing from one of its frames. */
export class Viewer {
  /** Called with the number of each frame that is shown. */
  onFrame: (frame: number) => void = () => {};
  onError: (error: unknown) => void = () => {};
  readonly #simulation: Simulation;
  readonly #view: TabletopView;
  readonly #stage: Stage;
  readonly #cameras: CameraPanel;
  readonly #joints: JointPanel;
  #episode: ViewEpisode | null = null;
  #player = new Player(1, 1);
  #shown = -1;
  #live = false;
  /** Seconds of physics still to be simulated. */
  #due = 0;

  private constructor(simulation: Simulation) {
    this.#simulation = simulation;
    this.#view = new TabletopView(simulation);
    this.#stage = new Stage(element<HTMLCanvasElement>('stage'), simulation);
    this.#cameras = new CameraPanel(element('cameras'), simulation);
    this.#joints = new JointPanel((target) => this.#view.command(target));
  }

  /** Loads MuJoCo, and shows an empty table. */
  static async create(): Promise<Viewer> {
    const simulation = await Simulation.create(TABLETOP_XML, 'tabletop');
    simulation.forward();
    return new Viewer(simulation);
  }

  get player(): Player {
    return this.#player;
  }

  get live(): boolean {
    return this.#live;
  }

  /** Runs physics from the frame shown, or returns to that frame. */
  set live(on: boolean) {
    this.#live = on && this.#episode !== null;
    this.#due = 0;
    this.#shown = -1;
    this.#player.pause();
    this.#joints.enabled = this.#live;
  }

  /** Shows an episode from its start. */
  open(episode: ViewEpisode): void {
    const { speed } = this.#player;
    this.#episode = episode;
    this.#player = new Player(episode.frames.length, episode.fps);
    this.#player.speed = speed;
    this.live = false;
    this.#player.play();
  }

  /** Advances time and shows the current state. */
  tick(seconds: number): void {
    if (this.#live) this.#runPhysics(seconds);
    else this.#player.advance(seconds);
    if (this.#player.frame !== this.#shown) this.#showFrame();
    this.#stage.draw();
    this.#cameras.draw();
  }

  #showFrame(): void {
    if (this.#episode === null) return;
    this.#shown = this.#player.frame;
    const frame = this.#episode.frames[this.#shown]!;
    showFrame(this.#simulation, this.#episode.mocap, frame);
    this.#joints.show(frame.ctrl);
    this.#changed();
    this.onFrame(this.#shown);
  }

  #runPhysics(seconds: number): void {
    // The frame it begins from comes first.
    if (this.#shown < 0) return;
    this.#due = Math.min(LAG, this.#due + seconds * this.#player.speed);
    const steps = Math.floor(this.#due / this.#simulation.timestep);
    if (steps === 0) return;
    this.#due -= steps * this.#simulation.timestep;
    try {
      this.#simulation.step(steps);
      this.#simulation.forward();
      this.#changed();
    } catch (error) {
      this.live = false;
      this.onError(error);
    }
  }

  #changed(): void {
    this.#cameras.invalidate();
    const { task, success } = this.#episode!;
    const achieved = achievedTasks(this.#view);
    const shown = { task, success, achieved, atEnd: this.#player.atEnd, live: this.#live };
    const { text, kind } = verdict(shown);
    const badge = element('badge');
    if (badge.textContent !== text) badge.textContent = text;
    badge.dataset.kind = kind;
  }
}
