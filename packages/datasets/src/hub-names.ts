/**
 * @packageDocumentation
 * Names of Hub repositories and the local folders that hold them, without the Hub client.
 */
export { looksLikeRepoId, policyCacheFolder, tokenizerCacheFolder } from './hub/environment.js';
