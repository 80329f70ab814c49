import type { nn } from '@craft-ft/torch';

/**
 * Runs `body` with a module in evaluation mode (no dropout), then restores the mode of every module below it, also after an error.
 *
 * Gradients flow. A backward pass that goes through `torch.checkpoint` computes the forward pass again: it belongs into `body` too.
 */
export function inEvaluationMode<T>(module: nn.Module, body: () => T): T {
  const before = module.namedModules().map(([, each]) => [each, each.training] as const);
  module.eval();
  try {
    return body();
  } finally {
    for (const [each, training] of before) each.training = training;
  }
}
