/** Number of single-character insertions, deletions and substitutions that turn `a` into `b`. */
export function levenshtein(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const substitute = row[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(substitute, row[j]! + 1, next[j - 1]! + 1));
    }
    row = next;
  }
  return row[b.length]!;
}

/**
 * The candidate closest to `name`, or null if none is plausible (more than 60 % of its characters would have to change).
 *
 * A name whose last part matches wins over spelling: `lr` finds `optimizer.lr`, `chunk_size` finds `policy.chunk_size`.
 */
export function nearest(name: string, candidates: Iterable<string>): string | null {
  const plain = name.replaceAll('-', '_');
  let best: string | null = null;
  let bestDistance = Number.POSITIVE_INFINITY;
  for (const candidate of candidates) {
    const distance = candidate.endsWith(`.${plain}`) ? 0.5 : levenshtein(plain, candidate);
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best !== null && bestDistance <= 0.6 * Math.max(plain.length, best.length) ? best : null;
}
