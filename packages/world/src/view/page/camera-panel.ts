import { RayCamera } from '../../engine/camera.js';
import type { Simulation } from '../../engine/simulation.js';
import { TABLETOP_CAMERAS } from '../../names.js';
import { pictureFigure } from './elements.js';

const SIZE = { width: 128, height: 96, shadows: true };

/** What the robot's cameras see: the same drawing as in recordings and evaluations, here in the browser. */
export class CameraPanel {
  readonly #draws: (() => void)[];
  #stale = 0;

  constructor(parent: HTMLElement, simulation: Simulation) {
    this.#draws = TABLETOP_CAMERAS.map((name) => {
      const camera = new RayCamera(simulation, name, SIZE);
      const show = pictureFigure(name, parent);
      return () => show(camera.render(), camera.width, camera.height);
    });
  }

  /** The scene has changed. */
  invalidate(): void {
    this.#stale = this.#draws.length;
  }

  /** Draws one of the pictures that are out of date: all at once would hold up the 3D view. */
  draw(): void {
    if (this.#stale === 0) return;
    this.#stale--;
    const [next] = this.#draws;
    next!();
    this.#draws.push(this.#draws.shift()!);
  }
}
