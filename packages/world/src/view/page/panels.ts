import { RayCamera } from '../../engine/camera.js';
import type { Simulation } from '../../engine/simulation.js';
import { TABLETOP_CAMERAS } from '../../names.js';
import { ARM_JOINTS, toUnits } from '../../tabletop/arm.js';
import { fetchPicture } from './requests.js';

/** An element of the page. */
export function element<T extends HTMLElement = HTMLElement>(id: string): T {
  return document.getElementById(id) as T;
}

/** An option of a select element. */
export function option(value: string, text: string): HTMLOptionElement {
  return new Option(text, value);
}

/** An image with its name, and a function that shows RGB pixels in it. */
function pictureFigure(
  name: string,
  parent: HTMLElement,
): (rgb: Uint8Array, width: number, height: number) => void {
  const canvas = document.createElement('canvas');
  const caption = document.createElement('figcaption');
  caption.textContent = name;
  caption.title = name;
  const figure = document.createElement('figure');
  figure.append(canvas, caption);
  parent.append(figure);
  const context = canvas.getContext('2d')!;
  return (rgb, width, height) => {
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    const image = context.createImageData(width, height);
    for (let pixel = 0; pixel < width * height; pixel++) {
      image.data[4 * pixel] = rgb[3 * pixel]!;
      image.data[4 * pixel + 1] = rgb[3 * pixel + 1]!;
      image.data[4 * pixel + 2] = rgb[3 * pixel + 2]!;
      image.data[4 * pixel + 3] = 255;
    }
    context.putImageData(image, 0, 0);
  };
}

const SIZE = { width: 128, height: 96, shadows: true };

/** What the robot's cameras see, rendered in the browser exactly as in recordings and evaluations. */
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

  /** Call when the scene has changed. */
  invalidate(): void {
    this.#stale = this.#draws.length;
  }

  /** Draws one of the outdated images: drawing all at once would hold up the 3D view. */
  draw(): void {
    if (this.#stale === 0) return;
    this.#stale--;
    const [next] = this.#draws;
    next!();
    this.#draws.push(this.#draws.shift()!);
  }
}

/** One slider per joint: the target of its servo, in the units of actions. */
export class JointPanel {
  readonly #sliders: { input: HTMLInputElement; output: HTMLOutputElement }[];

  /** @param onMove called with all targets when a slider is moved */
  constructor(onMove: (target: readonly number[]) => void) {
    this.#sliders = ARM_JOINTS.map(({ name, range }, joint) => {
      const input = document.createElement('input');
      const [min, max] = range.map((limit) => String(toUnits(joint, limit)));
      Object.assign(input, { type: 'range', step: 'any', min, max, disabled: true });
      const output = document.createElement('output');
      const label = document.createElement('label');
      label.append(name.replace('_', ' '), input, output);
      element('joints').append(label);
      input.addEventListener('input', () => {
        this.#label();
        onMove(this.#sliders.map((slider) => Number(slider.input.value)));
      });
      return { input, output };
    });
  }

  set enabled(on: boolean) {
    for (const { input } of this.#sliders) input.disabled = !on;
  }

  /** @param ctrl MuJoCo's, radians */
  show(ctrl: ArrayLike<number>): void {
    this.#sliders.forEach(({ input }, joint) => {
      input.value = String(toUnits(joint, ctrl[joint]!));
    });
    this.#label();
  }

  #label(): void {
    this.#sliders.forEach(({ input, output }, joint) => {
      output.value = `${Math.round(Number(input.value))}${joint === ARM_JOINTS.length - 1 ? ' %' : '°'}`;
    });
  }
}

/** The images recorded with an episode, as far as they can be fetched in time. */
export class RecordedPanel {
  readonly #onError: (error: unknown) => void;
  #update: (frame: number) => void = () => {};

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Call when another episode is shown. */
  open(source: string, episode: number, cameras: readonly string[]): void {
    element('recorded').hidden = cameras.length === 0;
    const parent = element('recordings');
    parent.replaceChildren();
    const updates = cameras.map((camera) => {
      const show = pictureFigure(camera.replace('observation.images.', ''), parent);
      return latest(async (frame: number) => {
        const { rgb, width, height } = await fetchPicture(source, episode, frame, camera);
        show(rgb, width, height);
      }, this.#onError);
    });
    this.#update = (frame) => {
      for (const update of updates) update(frame);
    };
  }

  show(frame: number): void {
    this.#update(frame);
  }
}

/** Runs one call at a time; of the requests made meanwhile, only the last is run afterwards. */
function latest(
  work: (value: number) => Promise<void>,
  onError: (error: unknown) => void,
): (value: number) => void {
  let busy = false;
  let wanted: number | null = null;
  const run = async (value: number): Promise<void> => {
    busy = true;
    await work(value).catch(onError);
    busy = false;
    if (wanted === null) return;
    const next = wanted;
    wanted = null;
    await run(next);
  };
  return (value) => {
    if (busy) wanted = value;
    else void run(value);
  };
}
