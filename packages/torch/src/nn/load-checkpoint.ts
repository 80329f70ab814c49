import type { TensorSource } from '../safetensors/file.js';
import { copyTensor } from '../safetensors/tensors.js';
import type { Tensor } from '../tensor.js';
import { type LoadReport, type Module, refuseDifferences } from './module.js';

export interface LoadCheckpointOptions {
  /**
   * Names in the module for a name in the file; none leaves the tensor out. A tensor stands for its first name; under the others it
   * only fills in for tensors that the file does not have. Default: the name as it is.
   */
  rename?: (name: string) => readonly string[];
  /** Default true: any difference is an error and nothing is changed. With false, what fits is loaded. */
  strict?: boolean;
  /** Added to the message of a difference: what may be the cause. */
  hint?: (report: LoadReport) => string;
}

/**
 * Loads a checkpoint into a module tensor by tensor, straight from the file: beyond the module itself it takes a few megabytes,
 * whatever the size of the file. Dtypes and devices are converted. Nothing is read unless everything fits.
 *
 * @returns what did not fit (all empty when strict)
 * @throws CraftError STATE_DICT_MISMATCH naming missing, unexpected and misshaped tensors; as `safetensors.loadFile` for a
 * damaged file
 *
 * @example
 * ```ts
 * const net = nn.init.withoutInit(() => new Net());
 * using file = safetensors.openCheckpoint('pretrained_model');
 * nn.loadCheckpoint(net, file);
 * ```
 */
export function loadCheckpoint(
  module: Module,
  file: TensorSource,
  options: LoadCheckpointOptions = {},
): LoadReport {
  return loadTensors(module.stateDict(), file, options);
}

/** As {@link loadCheckpoint}, into any tensors by name. */
export function loadTensors(
  own: ReadonlyMap<string, Tensor>,
  file: TensorSource,
  options: LoadCheckpointOptions = {},
): LoadReport {
  const { rename = (name) => [name], strict = true } = options;
  const sources = new Map<string, string>();
  const standIns = new Map<string, string>();
  for (const name of file.names) {
    rename(name).forEach((target, i) => {
      (i === 0 ? sources : standIns).set(target, name);
    });
  }
  for (const [target, name] of standIns)
    if (own.has(target) && !sources.has(target)) sources.set(target, name);
  const report: LoadReport = {
    missing: [...own.keys()].filter((name) => !sources.has(name)),
    unexpected: [...sources.keys()].filter((name) => !own.has(name)),
    misshaped: [],
  };
  const fitting: [string, Tensor][] = [];
  for (const [target, tensor] of own) {
    const name = sources.get(target);
    if (name === undefined) continue;
    const [expected, found] = [tensor.shape, [...file.info(name).shape]];
    if (expected.join() === found.join()) fitting.push([name, tensor]);
    else report.misshaped.push({ name: target, expected, found });
  }
  if (strict) refuseDifferences(report, file.path, options.hint?.(report));
  for (const [name, tensor] of fitting) copyTensor(file, name, tensor);
  return report;
}
