import type { TabletopTask } from '../../names.js';
import type { EpisodeRequest, ViewSetup } from '../view-episode.js';
import { element, option, RecordedPanel } from './panels.js';
import { fetchEpisode, fetchSetup } from './requests.js';
import { connectTransport } from './transport.js';
import { Viewer } from './viewer.js';

/** The current selection. */
interface Choice extends EpisodeRequest {
  source: string;
}

/** The fields that select an episode: the source, and its task and seed or its number. */
class Chooser {
  readonly #source = element<HTMLSelectElement>('source');
  readonly #task = element<HTMLSelectElement>('task');
  readonly #seed = element<HTMLInputElement>('seed');
  readonly #episode = element<HTMLInputElement>('episode');
  readonly #setup: ViewSetup;
  readonly #onChoice: (choice: Choice) => void;

  /** @param onChoice called whenever the selection changes, and once at the start */
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

  /** The number of episodes of the selected source; null: one for every task and seed. */
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

// The state is in the document for style sheets and tests: loading, ready or failed.
function setState(state: 'loading' | 'ready' | 'failed'): void {
  document.body.dataset.state = state;
}

function tell(error: unknown): void {
  const message = element('message');
  message.textContent = error instanceof Error ? error.message : String(error);
  message.hidden = false;
  setState('failed');
}

async function start(): Promise<void> {
  const [setup, viewer] = await Promise.all([fetchSetup(), Viewer.create()]);
  const transport = connectTransport(viewer);
  const recorded = new RecordedPanel(tell);
  viewer.onFrame = (frame) => recorded.show(frame);
  viewer.onError = tell;

  let loading = new AbortController();
  const load = async (choice: Choice): Promise<void> => {
    loading.abort();
    loading = new AbortController();
    const { signal } = loading;
    setState('loading');
    viewer.player.pause();
    element('message').hidden = true;
    Object.assign(element('badge'), {
      textContent: choice.source === 'dataset' ? 'reading' : 'running the episode',
    });
    element('badge').dataset.kind = 'wait';
    try {
      const episode = await fetchEpisode(choice.source, choice, signal);
      if (signal.aborted) return;
      element('instruction').textContent = episode.instruction;
      Object.assign(element('note'), { textContent: episode.note ?? '', hidden: episode.note === null });
      recorded.open(choice.source, choice.episode, episode.recorded);
      viewer.open(episode);
      setState('ready');
    } catch (error) {
      if (signal.aborted) return;
      element('badge').textContent = 'nothing to show';
      tell(error);
    }
  };
  new Chooser(setup, (choice) => void load(choice));

  let before = performance.now();
  const tick = (now: number): void => {
    viewer.tick((now - before) / 1000);
    before = now;
    transport.refresh();
    requestAnimationFrame(tick);
  };
  requestAnimationFrame(tick);
}

start().catch(tell);
