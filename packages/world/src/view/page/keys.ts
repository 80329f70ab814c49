/** What keys do. */
const KEYS = { ' ': 'play', ArrowLeft: 'back', ArrowRight: 'forward', Home: 'start', End: 'end' } as const;
type Key = keyof typeof KEYS;
export type KeyAction = (typeof KEYS)[Key];

/**
 * What a key does; null: nothing, or what the focused element does with it. Fields have these keys for themselves, a button only the
 * space bar.
 */
export function keyAction(key: string, focused: { matches(selector: string): boolean }): KeyAction | null {
  if (!Object.hasOwn(KEYS, key)) return null;
  if (focused.matches(key === ' ' ? 'input, select, button' : 'input, select')) return null;
  return KEYS[key as Key];
}
