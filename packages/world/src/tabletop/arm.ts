const DEGREE = Math.PI / 180;

/** A joint of the arm, and the meaning of its numbers in observations and actions. */
interface ArmJoint {
  readonly name: string;
  /** Limits, radians. */
  readonly range: readonly [number, number];
}

/** The joints in the order of observations and actions. Limits are the SO-101's, except for the gripper, whose zero is "jaws parallel". */
export const ARM_JOINTS: readonly ArmJoint[] = [
  { name: 'shoulder_pan', range: [-110 * DEGREE, 110 * DEGREE] },
  { name: 'shoulder_lift', range: [-100 * DEGREE, 100 * DEGREE] },
  { name: 'elbow_flex', range: [-97 * DEGREE, 97 * DEGREE] },
  { name: 'wrist_flex', range: [-95 * DEGREE, 95 * DEGREE] },
  { name: 'wrist_roll', range: [-157 * DEGREE, 162 * DEGREE] },
  { name: 'gripper', range: [-0.32, 1.2] },
];

/** Width of state and action vectors. */
export const ARM_SIZE = ARM_JOINTS.length;
export const GRIPPER = ARM_SIZE - 1;

/** Names of the numbers in state and action, LeRobot's for the SO-101. */
export const ARM_FEATURE_NAMES: readonly string[] = ARM_JOINTS.map(({ name }) => `${name}.pos`);

/** From MuJoCo's radians to the units of observations: degrees, and for the gripper 0 (closed) to 100 (open), as LeRobot's SO-101. */
export function toUnits(joint: number, radians: number): number {
  if (joint !== GRIPPER) return radians / DEGREE;
  const [low, high] = ARM_JOINTS[GRIPPER]!.range;
  return (100 * (radians - low)) / (high - low);
}

/** The inverse of {@link toUnits}. */
export function toRadians(joint: number, value: number): number {
  if (joint !== GRIPPER) return value * DEGREE;
  const [low, high] = ARM_JOINTS[GRIPPER]!.range;
  return low + (value / 100) * (high - low);
}

const joint = (index: number, axis: string): string => {
  const { name, range } = ARM_JOINTS[index]!;
  return `<joint name="${name}" axis="${axis}" range="${range[0].toFixed(5)} ${range[1].toFixed(5)}"/>`;
};
const motor = (pos: string, size: string): string =>
  `<geom class="arm" type="box" pos="${pos}" size="${size}" mass="0.055" rgba="0.13 0.13 0.15 1"/>`;

/**
 * The arm: base at the origin, reaching along +x, z up. Lengths follow the SO-101's public drawings (upper arm 116 mm, forearm
 * 135 mm, wrist to jaw tips 159 mm), masses are those of its servos and printed parts. At zero the upper arm is upright, forearm
 * and hand point forwards; positive shoulder, elbow and wrist angles lower the hand.
 */
export const ARM_BODIES = `
<body name="base" gravcomp="1">
  <geom class="arm" type="box" pos="-0.012 0 0.028" size="0.048 0.034 0.028" rgba="0.95 0.6 0.15 1"/>
  <geom class="arm" type="cylinder" pos="0 0 0.058" size="0.027 0.004" rgba="0.13 0.13 0.15 1"/>
  <body name="shoulder" gravcomp="1" pos="0 0 0.0624">
    ${joint(0, '0 0 1')}
    ${motor('0.006 0 0.03', '0.023 0.018 0.028')}
    <geom class="arm" type="box" pos="0.02 0 0.05" size="0.018 0.024 0.02" mass="0.04"/>
    <body name="upper_arm" gravcomp="1" pos="0.0304 0 0.0542">
      ${joint(1, '0 1 0')}
      <geom class="arm" type="capsule" fromto="0 0 0 0 0 0.116" size="0.014" mass="0.05"/>
      ${motor('0 0 0.1', '0.013 0.02 0.022')}
      <body name="forearm" gravcomp="1" pos="0 0 0.116">
        ${joint(2, '0 1 0')}
        <geom class="arm" type="capsule" fromto="0 0 0 0.135 0 0" size="0.012" mass="0.045"/>
        ${motor('0.115 0 0', '0.02 0.018 0.013')}
        <body name="wrist" gravcomp="1" pos="0.135 0 0">
          ${joint(3, '0 1 0')}
          <geom class="arm" type="cylinder" fromto="0 -0.02 0 0 0.02 0" size="0.013" mass="0.02"/>
          ${motor('0.035 0 0', '0.022 0.013 0.013')}
          <body name="hand" gravcomp="1" pos="0.061 0 0">
            ${joint(4, '1 0 0')}
            <geom class="arm" type="box" pos="0.012 0.004 0" size="0.012 0.028 0.014" mass="0.05"/>
            <geom class="jaw" type="box" pos="0.06 -0.018 0" size="0.038 0.004 0.011" mass="0.02"/>
            <site name="grasp" pos="0.086 0 0" size="0.003" rgba="0 0 0 0"/>
            <camera name="wrist" pos="-0.01 0 0.06" xyaxes="0 -1 0 0.42 0 0.907" fovy="75"/>
            <body name="jaw" gravcomp="1" pos="0.022 0.018 0">
              ${joint(5, '0 0 1')}
              <geom class="jaw" type="box" pos="0.038 0 0" size="0.038 0.004 0.011" mass="0.03" rgba="0.13 0.13 0.15 1"/>
            </body>
          </body>
        </body>
      </body>
    </body>
  </body>
</body>`;

const ACTUATOR_STRENGTH: readonly { kp: number; force: number }[] = [
  { kp: 60, force: 3.3 },
  { kp: 60, force: 3.3 },
  { kp: 60, force: 3.3 },
  { kp: 40, force: 3.3 },
  { kp: 20, force: 3.3 },
  { kp: 8, force: 1.2 },
];

/** Position servos of the strength of the SO-101's (about 3 Nm), critically damped. */
export const ARM_ACTUATORS = ARM_JOINTS.map(({ name, range }, i) => {
  const { kp, force } = ACTUATOR_STRENGTH[i]!;
  return (
    `<position name="${name}" joint="${name}" kp="${kp}" dampratio="1" forcerange="${-force} ${force}" ` +
    `ctrlrange="${range[0].toFixed(5)} ${range[1].toFixed(5)}"/>`
  );
}).join('\n');
