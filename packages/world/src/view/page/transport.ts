import { element } from './panels.js';
import { type KeyAction, keyAction } from './player.js';
import type { Viewer } from './viewer.js';

/** The bar below the image, and its keys: play, pause, step, scrub, speed, and physics. */
export function connectTransport(viewer: Viewer): { refresh(): void } {
  const scrub = element<HTMLInputElement>('scrub');
  const play = element('play');
  const live = element('live');
  const seek = (frame: number) => {
    viewer.live = false;
    viewer.player.seek(frame);
  };
  const actions: Readonly<Record<KeyAction, () => void>> = {
    start: () => seek(0),
    back: () => seek(viewer.player.frame - 1),
    forward: () => seek(viewer.player.frame + 1),
    end: () => seek(viewer.player.length - 1),
    play: () => {
      const { playing } = viewer.player;
      viewer.live = false;
      if (!playing) viewer.player.play();
    },
  };
  for (const name of ['start', 'back', 'forward', 'play'] as const)
    element(name).addEventListener('click', actions[name]);
  scrub.addEventListener('input', () => seek(Number(scrub.value)));
  element<HTMLSelectElement>('speed').addEventListener('change', (event) => {
    viewer.player.speed = Number((event.target as HTMLSelectElement).value);
  });
  live.addEventListener('click', () => {
    viewer.live = !viewer.live;
  });
  document.addEventListener('keydown', (event) => {
    const name = keyAction(event.key, event.target as HTMLElement);
    if (name === null) return;
    event.preventDefault();
    actions[name]();
  });
  const time = element<HTMLOutputElement>('time');
  return {
    refresh() {
      const { frame, length, fps, playing } = viewer.player;
      scrub.max = String(length - 1);
      scrub.value = String(frame);
      play.textContent = playing ? '▮▮' : '▶';
      live.textContent = viewer.live ? 'Stop physics' : 'Run physics from here';
      live.setAttribute('aria-pressed', String(viewer.live));
      time.value = `${(frame / fps).toFixed(2)} s · frame ${frame} of ${length - 1}`;
    },
  };
}
