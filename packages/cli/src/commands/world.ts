import { subcommands } from '../command.js';

// The physics engine is loaded only when a command runs.
/** `craft world`: the simulated tabletop. */
export const worldCommand = subcommands('world', {
  record: {
    about: 'record scripted experts on the tabletop as a LeRobot dataset',
    run: async (argv, output) => (await import('./world/record.js')).recordCommand(argv, output),
  },
  view: {
    about: 'look at it in the browser, at the expert, the rollouts of a policy, recorded episodes',
    run: async (argv, output) => (await import('./world/view.js')).viewCommand(argv, output),
  },
});
