import { subcommands } from '../command.js';
import { anchorsBuild } from './anchors/build.js';
import { anchorsImport } from './anchors/import.js';
import { anchorsInfo } from './anchors/info.js';

/** `craft anchors`: builds, shows and imports anchor caches. */
export const anchorsCommand = subcommands('anchors', {
  build: anchorsBuild,
  info: anchorsInfo,
  import: anchorsImport,
});
