import { CraftError } from '@craft-ft/torch/errors';

/** FFmpeg as node-av binds it. */
export interface FFmpeg {
  readonly av: typeof import('node-av/lib');
  readonly constants: typeof import('node-av/constants');
}

let loading: Promise<FFmpeg> | undefined;

/**
 * Loads FFmpeg on first use: a run without cameras neither needs nor pays for it.
 *
 * @throws CraftError `VIDEO_LIBRARY` where the npm package has no binary for this machine.
 */
export function loadFFmpeg(): Promise<FFmpeg> {
  loading ??= load();
  return loading;
}

async function load(): Promise<FFmpeg> {
  try {
    const [av, constants] = await Promise.all([import('node-av/lib'), import('node-av/constants')]);
    // What goes wrong is reported as errors that name the file; FFmpeg's own lines would only clutter the terminal.
    av.Log.setLevel(constants.AV_LOG_QUIET);
    return { av, constants };
  } catch (error) {
    throw libraryError(error);
  }
}

/** `VIDEO_LIBRARY`, from what loading node-av threw. */
export function libraryError(error: unknown): CraftError {
  const reason = (error instanceof Error ? error.message : String(error)).split('\n')[0];
  return new CraftError(
    'VIDEO_LIBRARY',
    `node-av: FFmpeg cannot be loaded on ${process.platform}-${process.arch} (${reason}); run npm install again, with optional dependencies`,
    { cause: error },
  );
}

/** FFmpeg's words for an error code, in lower case. */
export function reasonOf({ av }: FFmpeg, code: number): string {
  const text = av.FFmpegError.strerror(code);
  return text.charAt(0).toLowerCase() + text.slice(1);
}
