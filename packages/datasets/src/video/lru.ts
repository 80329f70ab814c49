/** A map bounded by the summed cost of its entries; what was used least recently goes first. */
export class Lru<V> {
  readonly #entries = new Map<string, { value: V; cost: number }>();
  readonly #limit: number;
  readonly #onEvict: (value: V) => void;
  #cost = 0;

  /** @param limit Largest sum of costs. @param onEvict Receives what is dropped, by bound or by `clear`. */
  constructor(limit: number, onEvict: (value: V) => void = () => {}) {
    this.#limit = limit;
    this.#onEvict = onEvict;
  }

  get size(): number {
    return this.#entries.size;
  }

  /** Sum of the costs. */
  get cost(): number {
    return this.#cost;
  }

  get(key: string): V | undefined {
    const entry = this.#entries.get(key);
    if (entry === undefined) return undefined;
    // A Map keeps the order of insertion: the first entry is the one unused for longest.
    this.#entries.delete(key);
    this.#entries.set(key, entry);
    return entry.value;
  }

  /** Adds or replaces; an entry that alone exceeds the limit is dropped at once. */
  set(key: string, value: V, cost = 1): void {
    this.delete(key);
    this.#entries.set(key, { value, cost });
    this.#cost += cost;
    for (const oldest of this.#entries.keys()) {
      if (this.#cost <= this.#limit) break;
      this.delete(oldest);
    }
  }

  delete(key: string): void {
    const entry = this.#entries.get(key);
    if (entry === undefined) return;
    this.#entries.delete(key);
    this.#cost -= entry.cost;
    this.#onEvict(entry.value);
  }

  clear(): void {
    for (const key of [...this.#entries.keys()]) this.delete(key);
  }
}
