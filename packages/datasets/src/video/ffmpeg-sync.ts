import { createRequire } from 'node:module';
import { type FFmpeg, libraryError } from './ffmpeg.js';

let loaded: FFmpeg | undefined;

/**
 * FFmpeg without waiting, the same instance as `loadFFmpeg`'s: a frame handed to the writer goes to the encoder at once, so
 * that frames never pile up uncompressed.
 *
 * @throws CraftError `VIDEO_LIBRARY` where the npm package has no binary for this machine.
 */
export function loadFFmpegSync(): FFmpeg {
  if (loaded !== undefined) return loaded;
  try {
    const require = createRequire(import.meta.url);
    const av = require('node-av/lib') as FFmpeg['av'];
    const constants = require('node-av/constants') as FFmpeg['constants'];
    av.Log.setLevel(constants.AV_LOG_QUIET);
    // SVT-AV1 prints past FFmpeg's log; it reads this when an encoder opens. 0: fatal errors only.
    process.env.SVT_LOG ??= '0';
    loaded = { av, constants };
    return loaded;
  } catch (error) {
    throw libraryError(error);
  }
}
