export { datasetSource } from './dataset-source.js';
export { expertSource } from './expert-source.js';
export { type PolicySourceOptions, policySource } from './policy-source.js';
export { serveView, type ViewOptions, type ViewServer } from './serve.js';
export type { EpisodeRequest, Picture, ViewEpisode, ViewFrame, ViewSource } from './view-episode.js';
