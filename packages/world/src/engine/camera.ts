import type { DoubleBuffer, IntBuffer, Simulation } from './simulation.js';

/** Rendering options of a camera. */
export interface CameraOptions {
  /** Pixels. Default 96. */
  width?: number;
  /** Pixels. Default 96. */
  height?: number;
  /** Whether the lamp casts shadows, at the cost of a second ray per pixel. Default false. */
  shadows?: boolean;
}

/** Direction to the lamp, and its position: left, in front and high above, so that shadows are short. */
const LAMP = [0.15, 0.45, 1.3] as const;
const AMBIENT = 0.48;
const BACKGROUND = [186, 200, 214] as const;
const FAR = 20;
const NO_GROUPS: number[] = null as unknown as number[];

/**
 * A camera of the scene, rendered by casting one ray per pixel (`mj_multiRay`): no GPU, no window system.
 *
 * Shading: the geom's colour, darker as its surface turns away from the lamp, and in shadow. Geoms with alpha 0 are invisible.
 */
export class RayCamera {
  readonly width: number;
  readonly height: number;
  readonly #simulation: Simulation;
  readonly #camera: number;
  readonly #shadows: boolean;
  /** Directions in the camera's frame, and in the world's; unit length, [pixels, 3]. */
  readonly #local: Float64Array;
  readonly #rays: Float64Array;
  readonly #colors: Uint8Array;
  readonly #geom: IntBuffer;
  readonly #distance: DoubleBuffer;
  readonly #normal: DoubleBuffer;
  readonly #shadowGeom: IntBuffer;
  readonly #shadowDistance: DoubleBuffer;

  /** @param name of the camera in the scene. @throws CraftError `SCENE_NAME` */
  constructor(simulation: Simulation, name: string, options: CameraOptions = {}) {
    const { width = 96, height = 96, shadows = false } = options;
    const { mujoco, model } = simulation;
    this.width = width;
    this.height = height;
    this.#simulation = simulation;
    this.#shadows = shadows;
    this.#camera = simulation.id('camera', name);
    const pixels = width * height;
    this.#local = directions(width, height, model.cam_fovy[this.#camera]);
    this.#rays = new Float64Array(3 * pixels);
    this.#colors = Uint8Array.from(model.geom_rgba as Float32Array, (value) => Math.round(255 * value));
    this.#geom = simulation.own(new mujoco.IntBuffer(pixels));
    this.#distance = simulation.own(new mujoco.DoubleBuffer(pixels));
    this.#normal = simulation.own(new mujoco.DoubleBuffer(3 * pixels));
    this.#shadowGeom = simulation.own(new mujoco.IntBuffer(shadows ? pixels : 0));
    this.#shadowDistance = simulation.own(new mujoco.DoubleBuffer(shadows ? pixels : 0));
  }

  /** Renders the current image: RGB, [height, width, 3], row by row from the top left. */
  render(): Uint8Array {
    const { data } = this.#simulation;
    const rays = this.#rays;
    const origin = Float64Array.from((data.cam_xpos as Float64Array).subarray(3 * this.#camera).slice(0, 3));
    rotate(this.#local, (data.cam_xmat as Float64Array).subarray(9 * this.#camera), rays);
    const pixels = this.width * this.height;
    this.#cast(origin, rays, this.#geom, this.#distance, this.#normal);
    const lamps = this.#towardsLamp(origin);
    const lit = this.#shadows ? this.#castShadows(lamps) : null;
    const geoms = this.#geom.GetView() as Int32Array;
    const normals = this.#normal.GetView() as Float64Array;
    const image = new Uint8Array(3 * pixels);
    const colors = this.#colors;
    for (let pixel = 0, at = 0; pixel < pixels; pixel++, at += 3) {
      const geom = geoms[pixel]!;
      if (geom < 0) {
        image[at] = BACKGROUND[0];
        image[at + 1] = BACKGROUND[1];
        image[at + 2] = BACKGROUND[2];
        continue;
      }
      const facing =
        normals[at]! * lamps[at]! + normals[at + 1]! * lamps[at + 1]! + normals[at + 2]! * lamps[at + 2]!;
      const shines = facing > 0 && (lit === null || lit[pixel] === 1);
      const light = shines ? AMBIENT + (1 - AMBIENT) * facing : AMBIENT;
      image[at] = colors[4 * geom]! * light + 0.5;
      image[at + 1] = colors[4 * geom + 1]! * light + 0.5;
      image[at + 2] = colors[4 * geom + 2]! * light + 0.5;
    }
    return image;
  }

  /** Unit vectors from the point that each pixel shows to the lamp, [pixels, 3]. */
  #towardsLamp(origin: Float64Array): Float64Array {
    const distances = this.#distance.GetView() as Float64Array;
    const out = new Float64Array(this.#rays.length);
    for (let pixel = 0; pixel < distances.length; pixel++) {
      const at = 3 * pixel;
      const distance = Math.max(0, distances[pixel]!);
      const x = LAMP[0] - origin[0]! - distance * this.#rays[at]!;
      const y = LAMP[1] - origin[1]! - distance * this.#rays[at + 1]!;
      const z = LAMP[2] - origin[2]! - distance * this.#rays[at + 2]!;
      // Math.hypot is many times slower.
      const scale = 1 / Math.sqrt(x * x + y * y + z * z);
      out[at] = x * scale;
      out[at + 1] = y * scale;
      out[at + 2] = z * scale;
    }
    return out;
  }

  /** 1 where the ray from the lamp reaches the point that the pixel shows. All rays start at one point, so a single call casts them. */
  #castShadows(lamps: Float64Array): Uint8Array {
    const rays = new Float64Array(lamps.length);
    for (let at = 0; at < lamps.length; at++) rays[at] = -lamps[at]!;
    this.#cast(LAMP, rays, this.#shadowGeom, this.#shadowDistance, null);
    const seen = this.#geom.GetView() as Int32Array;
    const reached = this.#shadowGeom.GetView() as Int32Array;
    // A hit on the same geom counts as lit: its far side is dark because of its normal, and shapes here are convex.
    const lit = new Uint8Array(seen.length);
    for (let pixel = 0; pixel < seen.length; pixel++) lit[pixel] = seen[pixel] === reached[pixel] ? 1 : 0;
    return lit;
  }

  /** The first hit of every ray from one point: its geom (-1: none), its distance, and its normal there. */
  #cast(
    origin: ArrayLike<number>,
    rays: Float64Array,
    geoms: IntBuffer,
    distances: DoubleBuffer,
    normals: DoubleBuffer | null,
  ): void {
    const { mujoco, model, data } = this.#simulation;
    const from = origin as number[];
    const along = rays as unknown as number[];
    const pixels = this.width * this.height;
    mujoco.mj_multiRay(model, data, from, along, NO_GROUPS, true, -1, geoms, distances, normals, pixels, FAR);
  }
}

function directions(width: number, height: number, fovy: number): Float64Array {
  const scale = (2 * Math.tan((fovy * Math.PI) / 360)) / height;
  const out = new Float64Array(3 * width * height);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const x = (column + 0.5 - width / 2) * scale;
      const y = (height / 2 - row - 0.5) * scale;
      const length = Math.hypot(x, y, 1);
      out.set([x / length, y / length, -1 / length], 3 * (row * width + column));
    }
  }
  return out;
}

/** `out[i] = matrix · vectors[i]`, with a row-major matrix. */
function rotate(vectors: Float64Array, matrix: Float64Array, out: Float64Array): void {
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0] = matrix;
  for (let at = 0; at < vectors.length; at += 3) {
    const x = vectors[at]!;
    const y = vectors[at + 1]!;
    const z = vectors[at + 2]!;
    out[at] = a * x + b * y + c * z;
    out[at + 1] = d * x + e * y + f * z;
    out[at + 2] = g * x + h * y + i * z;
  }
}
