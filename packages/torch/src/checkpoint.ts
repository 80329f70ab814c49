import { enableGrad, isGradEnabled, noGrad, runEngine } from './autograd.js';
import { native } from './native.js';
import { getRngState, setRngState } from './random.js';
import { scope } from './scope.js';
import type { Tensor } from './tensor.js';

/**
 * A stretch of the forward pass whose activations were not kept. Its outputs are leaves, cut from the graph: when the engine has
 * brought a gradient to them, the stretch is computed again with recording on, and its own backward pass runs.
 */
interface Segment {
  body: (...inputs: Tensor[]) => Tensor | Tensor[];
  inputs: Tensor[];
  outputs: Tensor[];
  rngState: Tensor;
}

// In order of creation, which is a topological order of the graph between them.
let segments: Segment[] = [];

/** Whether a backward pass has to go through checkpoints. */
export function hasCheckpoints(): boolean {
  return segments.length > 0;
}

/**
 * Runs `body(...inputs)` without keeping its activations for the backward pass, which computes it a second time instead:
 * memory for time (Chen et al., 2016, "Training deep nets with sublinear memory cost"; as `torch.utils.checkpoint`). Random
 * numbers (dropout) are the same both times. Parameters that `body` uses get their gradients as usual.
 *
 * Gradients flow through `inputs` and through parameters, not through other tensors that `body` closes over. Without recording
 * (`noGrad`) this is a plain call. All checkpoints since the last `backward` belong to the next one; `discardCheckpoints`
 * drops those of a forward pass that gets no backward pass.
 *
 * @example
 * ```ts
 * let x = embedding;
 * for (const layer of layers) x = torch.checkpoint((h) => layer.call(h), x);
 * ```
 */
export function checkpoint<R extends Tensor | Tensor[]>(body: (...inputs: Tensor[]) => R, ...inputs: Tensor[]): R {
  if (!isGradEnabled()) return body(...inputs);
  const rngState = getRngState().keep();
  const result = noGrad(() => scope(() => body(...inputs)));
  const outputs = (Array.isArray(result) ? result : [result]).map((tensor) => {
    // An output that is one of the inputs (or a view of a parameter) must not turn into a leaf under its owner's feet.
    const leaf = tensor.detach();
    return leaf.requiresGrad_(leaf.isFloatingPoint);
  });
  segments.push({
    body,
    inputs: inputs.map(hold),
    outputs: outputs.map(hold),
    rngState,
  });
  return (Array.isArray(result) ? outputs : outputs[0]) as R;
}

// A handle of one's own, outside every scope: the caller's scopes may end before the backward pass.
function hold(tensor: Tensor): Tensor {
  const own = new (tensor.constructor as new (handle: number) => Tensor)(native.alias(tensor.h));
  return own.keep();
}

/** Forgets the checkpoints of a forward pass that gets no backward pass. */
export function discardCheckpoints(): void {
  for (const segment of segments) free(segment);
  segments = [];
}

function free(segment: Segment): void {
  for (const tensor of [...segment.inputs, ...segment.outputs, segment.rngState]) tensor.dispose();
}

/**
 * The backward pass of a graph cut by checkpoints. Segments are taken from the last to the first; the ordinary graph between
 * two of them is walked by the engine as soon as everything behind it is done, so that a part reached by several segments is
 * walked once. That part is retained: the engine may come through it again for an earlier cut.
 */
export function backwardThroughCheckpoints(outputs: readonly Tensor[], gradients: readonly Tensor[] | undefined): void {
  const pending = segments;
  segments = [];
  try {
    runEngine(outputs, gradients, { retainGraph: true });
    const frontier: { root: Tensor; gradient: Tensor; order: number }[] = [];
    for (let i = pending.length - 1; i >= 0; i--) {
      flush(frontier, i);
      scope(() => replay(pending[i], i, frontier));
      free(pending[i]);
    }
    flush(frontier, -1);
  } finally {
    for (const segment of pending) free(segment);
  }
}

type Frontier = { root: Tensor; gradient: Tensor; order: number }[];

// Gradients that wait at tensors made after segment `i` must reach it (or its predecessors) before it is replayed. A root's
// order is the number of the segment it fed: it was made before that one, so only those of later segments are due.
function flush(frontier: Frontier, i: number): void {
  const due = frontier.filter((entry) => entry.order > i);
  if (due.length === 0) return;
  frontier.length = 0;
  runEngine(
    due.map((entry) => entry.root),
    due.map((entry) => entry.gradient),
    { retainGraph: true },
  );
  for (const entry of due) {
    entry.gradient.dispose();
    entry.root.dispose();
  }
}

function replay(segment: Segment, order: number, frontier: Frontier): void {
  const arrived = segment.outputs.map((output) => (output.requiresGrad ? output.grad : null));
  if (arrived.every((gradient) => gradient === null)) return;
  const now = getRngState();
  setRngState(segment.rngState);
  // Leaves (parameters, outputs of other segments) take their gradients directly; the rest are cut off here.
  const inputs = segment.inputs.map((input) => {
    if (!input.requiresGrad || input.isLeaf) return input;
    return input.detach().requiresGrad_();
  });
  const result = enableGrad(() => segment.body(...inputs));
  setRngState(now);
  const results = Array.isArray(result) ? result : [result];
  const reached = results.map((_, i) => i).filter((i) => arrived[i] !== null && results[i].requiresGrad);
  if (reached.length > 0) {
    runEngine(
      reached.map((i) => results[i]),
      reached.map((i) => arrived[i] as Tensor),
      {},
    );
  }
  inputs.forEach((input, i) => {
    const original = segment.inputs[i];
    if (input === original) return;
    const gradient = input.grad;
    if (gradient !== null) frontier.push({ root: hold(original), gradient: gradient.keep(), order });
  });
}
