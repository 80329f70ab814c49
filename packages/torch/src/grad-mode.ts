import { native } from './native.js';

function withGradMode<T>(on: boolean, body: () => T): T {
  const before = native.setGradEnabled(on);
  try {
    const result = body();
    if (result instanceof Promise)
      throw new Error('the gradient mode needs a synchronous function: it belongs to the thread');
    return result;
  } finally {
    native.setGradEnabled(before);
  }
}

/** Runs `body` without recording operations for autograd. Synchronous functions only. */
export function noGrad<T>(body: () => T): T {
  return withGradMode(false, body);
}

/** Runs `body` with recording on, inside a `noGrad`. */
export function enableGrad<T>(body: () => T): T {
  return withGradMode(true, body);
}

/** Whether operations are recorded now. */
export function isGradEnabled(): boolean {
  return native.gradEnabled();
}
