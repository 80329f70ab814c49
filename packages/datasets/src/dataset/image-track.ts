import type { ImageSink } from './episode-buffer.js';
import { ImageStats } from './image-stats.js';
import { encodePng } from './png.js';
import type { FeatureStats } from './stats.js';

/** A picture as it goes into the data file: PNG bytes, and the name it would have as a file. */
export interface StoredImage {
  readonly bytes: Uint8Array;
  readonly path: string;
}

/** The pictures of a feature of dtype `image` in the open episode, compressed as they come. */
export class ImageTrack implements ImageSink {
  readonly #width: number;
  readonly #height: number;
  readonly #stats: ImageStats;
  #images: (Uint8Array | Promise<Uint8Array>)[] = [];

  constructor(width: number, height: number) {
    this.#width = width;
    this.#height = height;
    this.#stats = new ImageStats(width, height);
  }

  add(rgb: Uint8Array | Uint8ClampedArray): void {
    this.#images.push(encodePng(rgb, this.#width, this.#height));
    this.#stats.add(rgb);
  }

  /** Statistics of the open episode. */
  stats(): FeatureStats {
    return this.#stats.compute();
  }

  async images(): Promise<StoredImage[]> {
    const images = await Promise.all(this.#images);
    return images.map((bytes, frame) => ({ bytes, path: `frame-${String(frame).padStart(6, '0')}.png` }));
  }

  clear(): void {
    this.#images = [];
    this.#stats.clear();
  }
}
