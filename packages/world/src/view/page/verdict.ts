import type { TabletopTask } from '../../names.js';

export interface Verdict {
  text: string;
  /** Names its colour. */
  kind: 'good' | 'bad' | 'wait';
}

/** The moment shown. */
export interface Shown {
  /** Asked for; null where that is not known. */
  task: TabletopTask | null;
  /** Everything that counts as done now. */
  achieved: readonly TabletopTask[];
  /** How the episode ended; null where that is not known. */
  success: boolean | null;
  atEnd: boolean;
  /** Physics goes on from here: the episode's own end does not count. */
  live: boolean;
}

/** How the task stands. What was done instead is named: a policy that forgot shows it there. */
export function verdict({ task, achieved, success, atEnd, live }: Shown): Verdict {
  if (task !== null && achieved.includes(task)) return { text: 'success', kind: 'good' };
  const others = achieved.join(', ');
  if (live) return { text: others === '' ? 'physics' : `physics; done now: ${others}`, kind: 'wait' };
  if (!atEnd) return { text: 'under way', kind: 'wait' };
  const instead = others === '' ? '' : `; done instead: ${others}`;
  if (success === true) return { text: 'success', kind: 'good' };
  if (success === false) return { text: `failed: time is over${instead}`, kind: 'bad' };
  return { text: `end of the recording${instead}`, kind: 'wait' };
}
