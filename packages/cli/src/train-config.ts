import { CRAFT_FLAGS_NOT_YET, craftConfigSchema, validateCraft } from '@craft-ft/craft/config';
import { listFields } from '@craft-ft/policies/config';
import {
  type ConfigSpec,
  LEROBOT_FLAGS_NOT_YET,
  trainConfigSchema,
  validateTrain,
} from '@craft-ft/training/config';
import { z } from 'zod';
import { EVALUATION_FLAGS_NOT_YET, evaluationFields, validateEvaluation } from './evaluation-config.js';
import type { FlagTable } from './flags.js';

/** Configuration of `craft train`: LeRobot's training fields, those of evaluation and, under `craft`, those of the method. */
export const craftTrainConfigSchema = z.strictObject({
  ...trainConfigSchema.shape,
  ...evaluationFields,
  craft: craftConfigSchema
    .prefault({})
    .describe('Constrained retention fine-tuning: learn the new task, keep the old one.'),
});
export type CraftTrainConfig = z.infer<typeof craftTrainConfigSchema>;

export const craftTrainSpec: ConfigSpec<CraftTrainConfig> = {
  schema: craftTrainConfigSchema,
  validate: (config) => [
    ...validateTrain(config),
    ...validateEvaluation(config),
    ...validateCraft(config.craft),
  ],
  notYet: [...LEROBOT_FLAGS_NOT_YET, ...EVALUATION_FLAGS_NOT_YET, ...CRAFT_FLAGS_NOT_YET],
};

/** Every flag of `craft train`. */
export function trainFlags(): FlagTable {
  return {
    fields: listFields(craftTrainConfigSchema),
    notYet: craftTrainSpec.notYet,
    special: [
      {
        name: 'config_path',
        type: 'JSON or YAML file, checkpoint or run folder',
        description: 'Configuration to start from; every flag given overrides it.',
      },
      {
        name: 'policy.path',
        type: 'policy, checkpoint or run folder',
        description:
          'Policy to fine-tune: its configuration and weights; every other --policy.* flag overrides its configuration.',
      },
    ],
  };
}
