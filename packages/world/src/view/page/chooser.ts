import type { TabletopTask } from '../../names.js';
import type { EpisodeRequest, ViewSetup } from '../view-episode.js';
import { element, option } from './elements.js';

/** What is chosen. */
export interface Choice extends EpisodeRequest {
  source: string;
}

/** The fields that say which episode to show: the source, and its task and seed or its number. */
export class Chooser {
  readonly #source = element<HTMLSelectElement>('source');
  readonly #task = element<HTMLSelectElement>('task');
  readonly #seed = element<HTMLInputElement>('seed');
  readonly #episode = element<HTMLInputElement>('episode');
  readonly #setup: ViewSetup;
  readonly #onChoice: (choice: Choice) => void;

  /** @param onChoice called whenever something else is chosen, and once at the start */
  constructor(setup: ViewSetup, onChoice: (choice: Choice) => void) {
    this.#setup = setup;
    this.#onChoice = onChoice;
    this.#source.append(...setup.sources.map(({ name, label }) => option(name, label)));
    this.#task.append(...setup.tasks.map(({ name, instruction }) => option(name, instruction)));
    const { source, task, seed, episode } = setup.first;
    this.#source.value = source;
    this.#task.value = task;
    this.#seed.value = String(seed);
    this.#episode.value = String(episode);
    for (const field of [this.#source, this.#task, this.#seed, this.#episode]) {
      field.addEventListener('change', () => this.#choose());
    }
    element('previous').addEventListener('click', () => this.#go(-1));
    element('next').addEventListener('click', () => this.#go(1));
    this.#choose();
  }

  #go(by: number): void {
    const field = this.#episodes === null ? this.#seed : this.#episode;
    field.value = String(Math.max(0, Number(field.value) + by));
    this.#choose();
  }

  /** How many episodes the chosen source has; null: one for every task and seed. */
  get #episodes(): number | null {
    return this.#setup.sources.find(({ name }) => name === this.#source.value)!.episodes;
  }

  #choose(): void {
    const count = this.#episodes;
    for (const field of document.querySelectorAll<HTMLElement>('.seeded')) field.hidden = count !== null;
    for (const field of document.querySelectorAll<HTMLElement>('.numbered')) field.hidden = count === null;
    if (count !== null) {
      this.#episode.max = String(count - 1);
      this.#episode.value = String(Math.min(count - 1, Number(this.#episode.value)));
    }
    const number = count === null ? this.#seed : this.#episode;
    if (!number.reportValidity()) return;
    this.#onChoice({
      source: this.#source.value,
      task: this.#task.value as TabletopTask,
      seed: Number(this.#seed.value),
      episode: Number(this.#episode.value),
    });
  }
}
