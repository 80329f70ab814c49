import {
  BoxGeometry,
  type BufferGeometry,
  CapsuleGeometry,
  Color,
  CylinderGeometry,
  DirectionalLight,
  Fog,
  HemisphereLight,
  Mesh,
  MeshStandardMaterial,
  PCFShadowMap,
  PerspectiveCamera,
  PlaneGeometry,
  Scene,
  SphereGeometry,
  WebGLRenderer,
} from 'three';
import { OrbitControls } from 'three/addons/controls/OrbitControls.js';
import type { Simulation } from '../../engine/simulation.js';

/** Objects below this height are hidden and not drawn, metres. */
const PUT_AWAY = -0.2;
const BACKGROUND = 0xbac8d6;

/** The scene in 3D, with a camera that orbits the table. */
export class Stage {
  readonly #simulation: Simulation;
  readonly #renderer: WebGLRenderer;
  readonly #scene = new Scene();
  readonly #camera = new PerspectiveCamera(40, 1, 0.01, 30);
  readonly #controls: OrbitControls;
  readonly #meshes: { geom: number; mesh: Mesh; floor: boolean }[] = [];

  constructor(canvas: HTMLCanvasElement, simulation: Simulation) {
    this.#simulation = simulation;
    this.#renderer = new WebGLRenderer({ canvas, antialias: true });
    this.#renderer.shadowMap.enabled = true;
    this.#renderer.shadowMap.type = PCFShadowMap;
    this.#scene.background = new Color(BACKGROUND);
    this.#scene.fog = new Fog(BACKGROUND, 3, 9);
    this.#addLights();
    this.#addGeoms();
    this.#camera.up.set(0, 0, 1);
    this.#camera.position.set(0.8, -0.42, 0.5);
    this.#controls = new OrbitControls(this.#camera, canvas);
    this.#controls.target.set(0.14, 0, 0.06);
    this.#controls.enableDamping = true;
    this.#controls.minDistance = 0.15;
    this.#controls.maxDistance = 3;
    this.#controls.maxPolarAngle = 0.495 * Math.PI;
  }

  /** Draws the simulation as it is now. */
  draw(): void {
    this.#fit();
    this.#controls.update();
    const places = this.#simulation.data.geom_xpos as Float64Array;
    const turns = this.#simulation.data.geom_xmat as Float64Array;
    for (const { geom, mesh, floor } of this.#meshes) {
      const [x = 0, y = 0, z = 0] = places.subarray(3 * geom, 3 * geom + 3);
      mesh.visible = floor || z > PUT_AWAY;
      const [a = 1, b = 0, c = 0, d = 0, e = 1, f = 0, g = 0, h = 0, i = 1] = turns.subarray(9 * geom);
      mesh.matrix.set(a, b, c, x, d, e, f, y, g, h, i, z, 0, 0, 0, 1);
    }
    this.#renderer.render(this.#scene, this.#camera);
  }

  #fit(): void {
    const { clientWidth: width, clientHeight: height } = this.#renderer.domElement.parentElement!;
    const ratio = Math.min(2, window.devicePixelRatio);
    const { domElement: canvas } = this.#renderer;
    if (canvas.width === Math.floor(width * ratio) && canvas.height === Math.floor(height * ratio)) return;
    this.#renderer.setPixelRatio(ratio);
    this.#renderer.setSize(width, height, false);
    this.#camera.aspect = width / Math.max(1, height);
    this.#camera.updateProjectionMatrix();
  }

  #addLights(): void {
    this.#scene.add(new HemisphereLight(0xffffff, 0xa9a297, 2.3));
    const lamp = new DirectionalLight(0xffffff, 1.7);
    lamp.position.set(0.35, 0.55, 1.3);
    lamp.target.position.set(0.15, 0, 0);
    lamp.castShadow = true;
    lamp.shadow.mapSize.set(2048, 2048);
    Object.assign(lamp.shadow.camera, { left: -0.6, right: 0.6, top: 0.6, bottom: -0.6, near: 0.2, far: 3 });
    lamp.shadow.bias = -0.0005;
    lamp.shadow.normalBias = 0.002;
    this.#scene.add(lamp, lamp.target);
  }

  #addGeoms(): void {
    const { model } = this.#simulation;
    const types = model.geom_type as Int32Array;
    const sizes = model.geom_size as Float64Array;
    const colors = model.geom_rgba as Float32Array;
    for (let geom = 0; geom < types.length; geom++) {
      const [red = 0, green = 0, blue = 0, alpha = 0] = colors.subarray(4 * geom, 4 * geom + 4);
      const [x = 0, y = 0, z = 0] = sizes.subarray(3 * geom, 3 * geom + 3);
      const shape = alpha === 0 ? null : geomGeometry(types[geom]!, [x, y, z]);
      if (shape === null) continue;
      const color = new Color().setRGB(red, green, blue, 'srgb');
      const material = new MeshStandardMaterial({
        color,
        roughness: 0.65,
        opacity: alpha,
        transparent: alpha < 1,
      });
      const mesh = new Mesh(shape, material);
      const floor = isPlane(types[geom]!);
      mesh.castShadow = !floor;
      mesh.receiveShadow = true;
      mesh.matrixAutoUpdate = false;
      this.#scene.add(mesh);
      this.#meshes.push({ geom, mesh, floor });
    }
  }
}

/** MuJoCo's `mjtGeom`. */
const PLANE = 0;
const SPHERE = 2;
const CAPSULE = 3;
const ELLIPSOID = 4;
const CYLINDER = 5;
const BOX = 6;

/** An infinite plane is drawn this large, metres from its middle. */
const FAR = 10;

/**
 * The shape of a geom, in its own frame.
 *
 * @param type MuJoCo's `mjtGeom`
 * @param size MuJoCo's half sizes, metres
 * @returns null for a kind that is not drawn here (meshes, height fields)
 */
function geomGeometry(type: number, [x, y, z]: readonly [number, number, number]): BufferGeometry | null {
  switch (type) {
    case PLANE:
      return new PlaneGeometry(2 * (x || FAR), 2 * (y || FAR));
    case SPHERE:
      return new SphereGeometry(x, 32, 16);
    case CAPSULE:
      return new CapsuleGeometry(x, 2 * y, 12, 24).rotateX(Math.PI / 2);
    case ELLIPSOID:
      return new SphereGeometry(1, 32, 16).scale(x, y, z);
    case CYLINDER:
      // three.js has its axis along y, MuJoCo along z.
      return new CylinderGeometry(x, x, 2 * y, 32).rotateX(Math.PI / 2);
    case BOX:
      return new BoxGeometry(2 * x, 2 * y, 2 * z);
    default:
      return null;
  }
}

/** Whether a geom is a plane: a floor, which stays visible below the table. */
function isPlane(type: number): boolean {
  return type === PLANE;
}
