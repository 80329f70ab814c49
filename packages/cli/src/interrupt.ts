/** Exit code of a command stopped by Ctrl-C, as shells report it (128 + SIGINT). */
export const INTERRUPTED = 130;

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;

/** Tells a command that it should stop. */
interface Interrupt {
  /** Aborted by the first Ctrl-C or SIGTERM. */
  readonly signal: AbortSignal;
  /** Stops listening. */
  stop(): void;
}

/** The first Ctrl-C (or SIGTERM) aborts `signal`, so that the command can finish cleanly. The second ends the process at once. */
export function listenForInterrupt(onFirst: () => void = () => {}): Interrupt {
  const controller = new AbortController();
  const onSignal = () => {
    if (controller.signal.aborted) process.exit(INTERRUPTED);
    controller.abort();
    onFirst();
  };
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    signal: controller.signal,
    stop: () => {
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}
