import { TabletopEnvironment } from '../tabletop/environment.js';
import { runEpisode } from './run-episode.js';
import type { ViewSource } from './view-episode.js';

/** The scripted expert, in any task from any start. */
export function expertSource(): ViewSource {
  return {
    name: 'expert',
    label: 'Scripted expert',
    episodes: null,
    load: async ({ task, seed }, signal) => {
      const environment = await TabletopEnvironment.create({ task });
      try {
        const begin = () => {
          const expert = environment.expert({ seed });
          return () => expert.act();
        };
        return await runEpisode(environment, seed, begin, signal);
      } finally {
        environment.dispose();
      }
    },
    close: async () => {},
  };
}
