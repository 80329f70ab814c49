import { ARM_ACTUATORS, ARM_BODIES } from './arm.js';

/** Half the edge of the cubes, metres. */
export const CUBE = 0.014;
/** Half the inner width of a bin, metres. */
export const BIN = 0.05;
const BIN_HEIGHT = 0.04;
const WALL = 0.002;
/** How far the button's cap can go down, metres. */
const BUTTON_TRAVEL = 0.008;
/** Height of the button's cap at rest, metres. */
export const BUTTON_HEIGHT = 0.03;
/** Where the coloured strips of the push tasks begin and end, metres from the middle. */
export const ZONE = { from: 0.085, to: 0.145 } as const;
/** Where unused objects are: a shelf below the table top, out of every camera's sight. */
export const SHELF = -0.4;

const bin = (name: string, rgba: string): string => {
  const wall = (pos: string, size: string) =>
    `<geom class="fixed" type="box" pos="${pos}" size="${size}" rgba="${rgba}"/>`;
  const half = BIN_HEIGHT / 2;
  const out = BIN + WALL;
  return `<body name="${name}" mocap="true">
    <geom class="drawn" type="box" pos="0 0 0.0006" size="${out} ${out} 0.0006" rgba="${rgba}"/>
    ${wall(`${out} 0 ${half}`, `${WALL} ${out + WALL} ${half}`)}
    ${wall(`${-out} 0 ${half}`, `${WALL} ${out + WALL} ${half}`)}
    ${wall(`0 ${out} ${half}`, `${BIN} ${WALL} ${half}`)}
    ${wall(`0 ${-out} ${half}`, `${BIN} ${WALL} ${half}`)}
  </body>`;
};

const cube = (name: string, rgba: string): string => `<body name="${name}">
    <freejoint name="${name}"/>
    <geom class="object" name="${name}" type="box" size="${CUBE} ${CUBE} ${CUBE}" mass="0.02" rgba="${rgba}"/>
  </body>`;

const strip = (side: number): string =>
  `<geom class="drawn" type="box" pos="0.205 ${side * ((ZONE.from + ZONE.to) / 2)} 0.0004" ` +
  `size="0.085 ${(ZONE.to - ZONE.from) / 2} 0.0004" rgba="0.55 0.6 0.66 1"/>`;

/**
 * The tabletop: arm, two bins, two cubes, a button and the strips of the push tasks. Unused objects are put below the table top. Physics
 * steps of 2 ms; metres, kilograms, seconds, radians.
 */
export const TABLETOP_XML = `<mujoco model="tabletop">
<compiler angle="radian" autolimits="true"/>
<option timestep="0.002" integrator="implicitfast" cone="elliptic" impratio="10" iterations="30"/>
<default>
  <joint damping="0.3" armature="0.01"/>
  <default class="arm">
    <geom contype="2" conaffinity="1" friction="0.8 0.01 0.0005" rgba="0.95 0.6 0.15 1"/>
  </default>
  <default class="jaw">
    <geom contype="2" conaffinity="1" condim="4" friction="1.5 0.02 0.0005" rgba="0.95 0.6 0.15 1"/>
  </default>
  <default class="object">
    <geom contype="1" conaffinity="3" condim="4" friction="1 0.005 0.0005"/>
  </default>
  <default class="fixed">
    <geom contype="1" conaffinity="3" friction="0.8 0.005 0.0005"/>
  </default>
  <default class="drawn">
    <geom contype="0" conaffinity="0" mass="0"/>
  </default>
</default>
<worldbody>
  <geom class="drawn" type="plane" size="4 4 0.1" pos="0 0 -0.75" rgba="0.52 0.5 0.48 1"/>
  <geom class="fixed" name="table" type="box" pos="0.2 0 -0.015" size="0.36 0.42 0.015" rgba="0.87 0.83 0.76 1"/>
  <geom class="fixed" type="box" pos="0 0 ${SHELF - 0.01}" size="0.3 0.3 0.01" rgba="0 0 0 0"/>
  <camera name="top" pos="0.13 0 0.64" xyaxes="0 -1 0 1 0 0" fovy="45"/>
  <camera name="front" pos="0.62 0 0.42" xyaxes="0 1 0 -0.61 0 0.792" fovy="45"/>
  <camera name="side" pos="0.24 -0.6 0.34" xyaxes="1 0 0 0 0.5 0.866" fovy="45"/>
  ${ARM_BODIES}
  <body name="zones" mocap="true">${strip(1)}${strip(-1)}</body>
  ${bin('red_bin', '0.8 0.16 0.14 1')}
  ${bin('blue_bin', '0.16 0.33 0.8 1')}
  <body name="button" mocap="true">
    <geom class="fixed" type="box" pos="0 0 0.009" size="0.024 0.024 0.009" rgba="0.25 0.25 0.28 1"/>
    <body name="button_cap" pos="0 0 0.024">
      <joint name="button" type="slide" axis="0 0 -1" range="0 ${BUTTON_TRAVEL}" stiffness="80" damping="1" armature="0.002" frictionloss="0"/>
      <geom class="fixed" name="button_cap" type="cylinder" size="0.016 0.006" mass="0.01" rgba="0.65 0.2 0.7 1"/>
    </body>
  </body>
  ${cube('green_cube', '0.2 0.66 0.25 1')}
  ${cube('yellow_cube', '0.95 0.82 0.15 1')}
</worldbody>
<actuator>
${ARM_ACTUATORS}
</actuator>
</mujoco>`;
