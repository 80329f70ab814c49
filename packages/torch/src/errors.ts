/**
 * The one error class of the project: a readable message and a stable `code`.
 *
 * Messages are one line and name the culprit (file, field, operator) and the remedy. The command line prints the message
 * without a stack trace; any other error is a defect of the program and keeps its stack.
 *
 * @example
 * ```ts
 * throw new CraftError('DATASET_INFO_MISSING', `${path}: meta/info.json is missing; is this a LeRobot dataset?`);
 * ```
 */
export class CraftError extends Error {
  /** Stable identifier in UPPER_SNAKE_CASE; never changes once released. */
  readonly code: string;

  constructor(code: string, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.name = 'CraftError';
    this.code = code;
  }
}

/** libtorch refused a call: the message names the operator, the argument shapes and libtorch's own first line. */
export class TorchError extends CraftError {
  constructor(message: string) {
    super('TORCH_ERROR', message);
    this.name = 'TorchError';
  }
}

/** A tensor was used after `dispose()` or after its scope ended. */
export class TensorDisposedError extends CraftError {
  constructor(message: string) {
    super('TENSOR_DISPOSED', message);
    this.name = 'TensorDisposedError';
  }
}

/** The operating system's name of a failed call (`'ENOENT'`, `'ENOSPC'`, …), or undefined for any other error. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error) || !('syscall' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}
