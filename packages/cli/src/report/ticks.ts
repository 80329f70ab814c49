/** Maps values of an axis to 0…1, and says where its ticks are. */
export interface Scale {
  min: number;
  max: number;
  log: boolean;
  ticks: number[];
}

/** The distance of about `count` ticks over `span`: 1, 2 or 5 times a power of ten. */
function niceStep(span: number, count: number): number {
  const rough = span / count;
  const power = 10 ** Math.floor(Math.log10(rough));
  const factor = [1, 2, 5, 10].find((one) => one * power >= rough * (1 - 1e-9))!;
  return factor * power;
}

/**
 * A linear axis whose ends are ticks, unless the caller pins them.
 *
 * @param pinned keeps `min` and `max` as they are, for axes that end where the data ends.
 */
export function linearScale(min: number, max: number, count: number, pinned = false): Scale {
  // What differs only by rounding is constant.
  if (max - min <= Math.max(1e-300, 1e-9 * Math.max(Math.abs(min), Math.abs(max)))) [min, max] = widened(min);
  const step = niceStep(max - min, count);
  const first = pinned ? Math.ceil(min / step - 1e-9) : Math.floor(min / step + 1e-9);
  const last = pinned ? Math.floor(max / step + 1e-9) : Math.ceil(max / step - 1e-9);
  // Steps are decimal: rounding takes off what binary multiplication adds (0.30000000000000004).
  const ticks = Array.from({ length: last - first + 1 }, (_, i) =>
    Number(((first + i) * step).toPrecision(12)),
  );
  return pinned ? { min, max, log: false, ticks } : { min: ticks[0]!, max: ticks.at(-1)!, log: false, ticks };
}

function widened(value: number): [number, number] {
  const margin = Math.abs(value) < 1e-300 ? 1 : Math.abs(value) * 0.5;
  return [value - margin, value + margin];
}

/** A logarithmic axis; both ends must be above 0. Ticks are powers of ten, with 2 and 5 where there are few. */
export function logScale(min: number, max: number): Scale {
  const [low, high] = [Math.floor(Math.log10(min) + 1e-9), Math.ceil(Math.log10(max) - 1e-9)];
  const decades = Math.max(1, high - low);
  const every = Math.ceil(decades / 6);
  const ticks: number[] = [];
  for (let power = low; power <= low + decades; power++) {
    if ((power - low) % every === 0) ticks.push(10 ** power);
    if (decades <= 2 && power < low + decades) ticks.push(2 * 10 ** power, 5 * 10 ** power);
  }
  return { min: 10 ** low, max: 10 ** (low + decades), log: true, ticks };
}

/** Where a value lies on the axis: 0 at its lower end or below it, 1 at its upper end or above. */
export function position(value: number, { min, max, log }: Scale): number {
  const share = log ? Math.log10(value / min) / Math.log10(max / min) : (value - min) / (max - min);
  return Math.min(1, Math.max(0, share));
}
