import { element, pictureFigure } from './elements.js';
import { fetchPicture } from './requests.js';

/** The pictures that were recorded with an episode, as far as they can be fetched in time. */
export class RecordedPanel {
  readonly #onError: (error: unknown) => void;
  #update: (frame: number) => void = () => {};

  constructor(onError: (error: unknown) => void) {
    this.#onError = onError;
  }

  /** Another episode is shown. */
  open(source: string, episode: number, cameras: readonly string[]): void {
    element('recorded').hidden = cameras.length === 0;
    const parent = element('recordings');
    parent.replaceChildren();
    const updates = cameras.map((camera) => {
      const show = pictureFigure(camera.replace('observation.images.', ''), parent);
      return latest(async (frame: number) => {
        const { rgb, width, height } = await fetchPicture(source, episode, frame, camera);
        show(rgb, width, height);
      }, this.#onError);
    });
    this.#update = (frame) => {
      for (const update of updates) update(frame);
    };
  }

  show(frame: number): void {
    this.#update(frame);
  }
}

/** One call at a time; what is asked for meanwhile is done afterwards, and only the last of it. */
function latest(
  work: (value: number) => Promise<void>,
  onError: (error: unknown) => void,
): (value: number) => void {
  let busy = false;
  let wanted: number | null = null;
  const run = async (value: number): Promise<void> => {
    busy = true;
    await work(value).catch(onError);
    busy = false;
    if (wanted === null) return;
    const next = wanted;
    wanted = null;
    await run(next);
  };
  return (value) => {
    if (busy) wanted = value;
    else void run(value);
  };
}
