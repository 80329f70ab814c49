/**
 * @packageDocumentation
 * Every training method that `craft train` offers. Importing this loads neither policies nor datasets.
 */
import { baselineMethod, type TrainingMethod } from '@craft-ft/training/config';
import { craftMethod } from './craft-method.js';
import { replayMethod } from './replay-method.js';

export const METHODS = [baselineMethod, replayMethod, craftMethod] as readonly TrainingMethod[];

export { craftMethod, replayMethod };
