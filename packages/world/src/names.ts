// What can be known about the worlds without loading a physics engine, for command lines.

/** The tabletop's tasks. */
export const TABLETOP_TASKS = [
  'place-in-red-bin',
  'place-in-blue-bin',
  'push-left',
  'push-right',
  'lift',
  'stack',
  'press-button',
] as const;
export type TabletopTask = (typeof TABLETOP_TASKS)[number];

/** The instruction given to the robot; the `task` of recorded frames. */
export const INSTRUCTIONS: Readonly<Record<TabletopTask, string>> = {
  'place-in-red-bin': 'Put the green cube into the red bin',
  'place-in-blue-bin': 'Put the green cube into the blue bin',
  'push-left': 'Push the green cube to the left',
  'push-right': 'Push the green cube to the right',
  lift: 'Lift the green cube',
  stack: 'Stack the green cube on the yellow cube',
  'press-button': 'Press the button',
};

/** The tabletop's cameras. */
export const TABLETOP_CAMERAS = ['top', 'front', 'side', 'wrist'] as const;
export type TabletopCamera = (typeof TABLETOP_CAMERAS)[number];

/** Names of environments, LeRobot's `env.type`. */
export const ENVIRONMENT_TYPES = ['tabletop'] as const;
export type EnvironmentType = (typeof ENVIRONMENT_TYPES)[number];
