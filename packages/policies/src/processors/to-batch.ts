import type { PlainObject } from '@craft-ft/datasets/json';
import type { ProcessorStep, TensorBatch } from './step.js';

/** Number of dimensions of a single, unbatched value of a key; undefined for keys that are left alone. */
function singleDims(key: string): number | undefined {
  if (key === 'action' || key === 'observation.state' || key === 'observation.environment_state') return 1;
  if (key === 'observation.image' || key.startsWith('observation.images.')) return 3;
  if (key === 'index' || key === 'task_index') return 0;
  return undefined;
}

/** Adds the batch dimension to single observations, as a robot gives them; batches pass unchanged. */
export class ToBatchStep implements ProcessorStep {
  readonly registryName = 'to_batch_processor';

  process(batch: TensorBatch): TensorBatch {
    return Object.fromEntries(
      Object.entries(batch).map(([key, values]) => [
        key,
        values.ndim === singleDims(key) ? values.unsqueeze(0) : values,
      ]),
    );
  }

  config(): PlainObject {
    return {};
  }

  state(): null {
    return null;
  }
}
