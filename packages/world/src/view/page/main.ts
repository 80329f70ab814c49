import { type Choice, Chooser } from './chooser.js';
import { element } from './elements.js';
import { RecordedPanel } from './recorded-panel.js';
import { fetchEpisode, fetchSetup } from './requests.js';
import { connectTransport } from './transport.js';
import { Viewer } from './viewer.js';

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
