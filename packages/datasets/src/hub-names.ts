/**
 * @packageDocumentation
 * Names of repositories on the Hub and the folders they are kept in here, without the Hub's client.
 */
export { looksLikeRepoId, policyCacheFolder, tokenizerCacheFolder } from './hub/environment.js';
