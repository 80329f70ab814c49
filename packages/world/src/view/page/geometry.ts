import {
  BoxGeometry,
  type BufferGeometry,
  CapsuleGeometry,
  CylinderGeometry,
  PlaneGeometry,
  SphereGeometry,
} from 'three';

/** MuJoCo's `mjtGeom`. */
const PLANE = 0;
const SPHERE = 2;
const CAPSULE = 3;
const ELLIPSOID = 4;
const CYLINDER = 5;
const BOX = 6;

/** A plane without bounds is drawn this large, metres from its middle. */
const FAR = 10;

/**
 * The shape of a geom, in its own frame.
 *
 * @param type MuJoCo's `mjtGeom`
 * @param size MuJoCo's half sizes, metres
 * @returns null for a kind that is not drawn here (meshes, height fields)
 */
export function geomGeometry(
  type: number,
  [x, y, z]: readonly [number, number, number],
): BufferGeometry | null {
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

/** Whether a geom is a plane: a floor, which stays in sight below the table. */
export function isPlane(type: number): boolean {
  return type === PLANE;
}
