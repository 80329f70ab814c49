import { CraftError } from './errors.js';
import { enableGrad, isGradEnabled, noGrad } from './grad-mode.js';
import { native } from './native.js';
import { handles } from './operator.js';
import { getRngState, setRngState } from './random.js';
import { scope } from './scope.js';
import { type Tensor, wrap } from './tensor.js';

/** How a backward pass treats the graph it walks. */
export interface BackwardOptions {
  /** Keep the graph for another pass. Default: `createGraph`. */
  retainGraph?: boolean;
  /** Record the backward pass itself, for higher derivatives. Default false. */
  createGraph?: boolean;
}

/**
 * A checkpointed part of the forward pass, whose activations were not kept. Its outputs are leaves, detached from the graph: once they
 * have a gradient, the segment is recomputed with recording on, and its own backward pass runs.
 */
interface Segment {
  body: (...inputs: Tensor[]) => Tensor | Tensor[];
  inputs: Tensor[];
  outputs: Tensor[];
  /** Random state before the forward pass, per device. */
  rng: RngStates;
  /** Operations recorded from this number on may depend on the outputs, earlier ones cannot. */
  sequence: number;
}

type RngStates = [device: string, state: Tensor][];

/** A gradient that waits at a tensor of the ordinary graph between segments. */
interface Arrival {
  root: Tensor;
  gradient: Tensor;
  sequence: number;
}

// In order of creation, which is a topological order of the graph between them.
let segments: Segment[] = [];

const SPENT =
  'a backward pass reached a checkpoint for the second time, or one that was discarded; pass retainGraph to the first pass';

/** Whether a backward pass has to go through checkpoints. */
export function hasCheckpoints(): boolean {
  forgetUnreachable();
  return segments.length > 0;
}

/**
 * Runs `body(...inputs)` without keeping its activations for the backward pass, which computes it a second time instead:
 * memory for time (Chen et al., 2016, "Training deep nets with sublinear memory cost"; as `torch.utils.checkpoint`). Random
 * numbers (dropout) are the same both times. Parameters that `body` uses get their gradients as usual.
 *
 * Where `body` uses no tensor that requires gradients (a frozen module on frozen inputs), its outputs require none and nothing is computed
 * a second time. Gradients flow through `inputs` and through parameters, not through other tensors that `body` closes over. Without recording
 * (`noGrad`) this is a plain call. `backward` supports checkpoints; `grad` and `createGraph` do not, and throw. A checkpoint
 * whose outputs are all freed is forgotten at the next `checkpoint` or `backward`, at once by `discardCheckpoints`.
 *
 * @example
 * ```ts
 * let x = embedding;
 * for (const layer of layers) x = torch.checkpoint((h) => layer.call(h), x);
 * ```
 */
export function checkpoint<R extends Tensor | Tensor[]>(
  body: (...inputs: Tensor[]) => R,
  ...inputs: Tensor[]
): R {
  if (!isGradEnabled()) return body(...inputs);
  forgetUnreachable();
  const rng = rngStates(inputs);
  // Without recording, results do not tell whether they depend on what requires gradients: inputs, parameters, whatever `body` closes over.
  // Whether an operator was given any such tensor does.
  let touched = false;
  let result: R;
  native.beginGradWatch();
  try {
    result = noGrad(() => scope(() => body(...inputs)));
  } finally {
    touched = native.endGradWatch();
  }
  let cut = false;
  const outputs = (Array.isArray(result) ? result : [result]).map((tensor) => {
    // An output that is one of the inputs (or a view of a parameter) must not itself become a leaf.
    const output = tensor.detach();
    const differentiable = output.isFloatingPoint && (touched || tensor.requiresGrad);
    cut ||= differentiable;
    return output.requiresGrad_(differentiable);
  });
  if (!cut) {
    for (const [, state] of rng) state.dispose();
    return (Array.isArray(result) ? outputs : outputs[0]) as R;
  }
  segments.push({
    body,
    inputs: inputs.map(hold),
    outputs: outputs.map(hold),
    rng,
    sequence: native.sequenceNumber(),
  });
  return (Array.isArray(result) ? outputs : outputs[0]) as R;
}

function rngStates(inputs: readonly Tensor[]): RngStates {
  const devices = new Set(['cpu', ...inputs.map((input) => input.device)]);
  return [...devices].map((device) => [device, getRngState(device).keep()]);
}

function restore(states: RngStates): void {
  for (const [device, state] of states) setRngState(state, device);
}

// A separate handle, outside every scope: the caller's scopes may end before the backward pass.
function hold(tensor: Tensor): Tensor {
  return wrap(native.alias(tensor.h)).keep();
}

/** Forgets the checkpoints of forward passes that get no backward pass, and frees what they hold. */
export function discardCheckpoints(): void {
  for (const segment of segments) retire(segment);
  segments = [];
}

// A segment whose outputs nobody else holds, neither a handle nor a recorded operation, can get no gradient any more. Later
// segments hold earlier ones' outputs, so the last comes first.
function forgetUnreachable(): void {
  for (let i = segments.length - 1; i >= 0; i--) {
    if (segments[i].outputs.some((output) => native.useCount(output.h) > 1)) continue;
    free(segments[i]);
    segments.splice(i, 1);
  }
}

// Without this, a gradient that arrives later would stop at the cut and be silently lost.
function retire(segment: Segment): void {
  for (const output of segment.outputs)
    if (!output.disposed && output.requiresGrad) native.refuseGradient(output.h, SPENT);
  free(segment);
}

function free(segment: Segment): void {
  for (const tensor of [...segment.inputs, ...segment.outputs]) tensor.dispose();
  for (const [, state] of segment.rng) state.dispose();
}

/** One pass of libtorch's engine. */
export function runEngine(
  outputs: readonly Tensor[],
  gradients: readonly Tensor[] | undefined,
  { createGraph = false, retainGraph = createGraph }: BackwardOptions,
): void {
  native.backward(
    handles(outputs),
    gradients === undefined ? null : handles(gradients),
    retainGraph,
    createGraph,
  );
}

/**
 * The backward pass of a graph cut by checkpoints. Segments are taken from the last to the first. Gradients that come out of
 * them wait at the ordinary graph in between until a segment that it may depend on is next, so that a part which feeds
 * several segments is walked once for all of them. The graph is retained: the engine may come through a part again for an
 * earlier cut. Segments that no gradient reached stay for another pass.
 */
export function backwardThroughCheckpoints(
  outputs: readonly Tensor[],
  gradients: readonly Tensor[] | undefined,
  options: BackwardOptions,
): void {
  if (options.createGraph) {
    throw new CraftError(
      'CHECKPOINT_UNSUPPORTED',
      'createGraph: derivatives of derivatives do not go through checkpoints',
    );
  }
  const pending = segments;
  const unreached: Segment[] = [];
  const frontier: Arrival[] = [];
  segments = [];
  try {
    runEngine(outputs, gradients, { retainGraph: true });
    while (pending.length > 0) {
      const segment = pending[pending.length - 1];
      flush(frontier, segment.sequence);
      const reached = scope(() => replay(segment, frontier));
      pending.pop();
      if (!reached || options.retainGraph) unreached.unshift(segment);
      else retire(segment);
    }
    flush(frontier, -1);
  } finally {
    // After a failure the rest would receive half of its gradients.
    for (const segment of pending) retire(segment);
    for (const { root, gradient } of frontier) {
      root.dispose();
      gradient.dispose();
    }
    segments = unreached;
  }
}

// Sends on the gradients that wait at operations numbered `sequence` or later.
function flush(frontier: Arrival[], sequence: number): void {
  const due = frontier.filter((arrival) => arrival.sequence >= sequence);
  if (due.length === 0) return;
  const roots = due.map((arrival) => arrival.root);
  const gradients = due.map((arrival) => arrival.gradient);
  runEngine(roots, gradients, { retainGraph: true });
  for (const tensor of [...roots, ...gradients]) tensor.dispose();
  const later = frontier.filter((arrival) => arrival.sequence < sequence);
  frontier.splice(0, frontier.length, ...later);
}

// Returns whether a gradient had come to the segment.
function replay(segment: Segment, frontier: Arrival[]): boolean {
  const arrived = segment.outputs.map((output) => (output.requiresGrad ? output.grad : null));
  if (arrived.every((gradient) => gradient === null)) return false;
  for (const output of segment.outputs) output.grad = null;
  // Leaves (parameters, outputs of other segments) take their gradients directly; the rest are cut off here.
  const inputs = segment.inputs.map((input) => {
    if (!input.requiresGrad || input.isLeaf) return input;
    return input.detach().requiresGrad_();
  });
  const now = rngStates(segment.inputs);
  restore(segment.rng);
  try {
    const result = enableGrad(() => segment.body(...inputs));
    const results = Array.isArray(result) ? result : [result];
    const reached = results.map((_, i) => i).filter((i) => arrived[i] !== null && results[i].requiresGrad);
    const roots = reached.map((i) => results[i]);
    const gradients = reached.map((i) => arrived[i] as Tensor);
    // Checkpoints within the body are segments of a graph of their own.
    if (segments.length > 0) backwardThroughCheckpoints(roots, gradients, {});
    else if (roots.length > 0) runEngine(roots, gradients, {});
  } finally {
    discardCheckpoints();
    restore(now);
    for (const [, state] of now) state.dispose();
  }
  inputs.forEach((input, i) => {
    const original = segment.inputs[i];
    const gradient = input === original ? null : input.grad;
    if (gradient === null) return;
    frontier.push({
      root: hold(original),
      gradient: gradient.keep(),
      sequence: native.gradSequence(original.h),
    });
  });
  return true;
}
