import type { TrainingMethod } from '@craft-ft/training/config';
import {
  CRAFT_FLAGS_NOT_YET,
  type CraftConfig,
  craftConfigSchema,
  resolveEpsilon,
  validateCraft,
} from './config.js';

/** CRaFT as `craft train` offers it. */
export const craftMethod: TrainingMethod<CraftConfig> = {
  name: 'craft',
  title: 'CRaFT',
  about: 'constrained retention fine-tuning: learn the new task, keep the old one',
  schema: craftConfigSchema,
  validate: (config) => validateCraft(config),
  notYet: CRAFT_FLAGS_NOT_YET,
  switchedOnBy: 'enabled',
  resume: {
    free: ['log_craft_metrics_freq', 'save_lambda_history', 'anchor_dataset_root'],
    warned: [
      'lambda_controller',
      'lambda_lr',
      'lambda_kp',
      'lambda_ki',
      'lambda_kd',
      'lambda_smoothing',
      'lambda_max',
      'epsilon_start',
      'epsilon_end',
      'epsilon_decay_steps',
      'epsilon_schedule',
      'conflict_threshold',
      'use_grad_projection',
      'surgery',
      'surgery_granularity',
      'cagrad_c',
      'stale_projection',
      'projection_mode',
      'retention_scale',
    ],
  },
  // ε may decay over the whole run.
  followsSteps: (config) => {
    const { start, end } = resolveEpsilon(config);
    return config.epsilon_schedule !== 'constant' && start !== end && config.epsilon_decay_steps === 0;
  },
  stateFile: 'craft_state.json',
  warnings: async (config, run) => {
    const { sharedRecordings } = await import('./anchors/of-run.js');
    return sharedRecordings(config, run, 'craft');
  },
  strategy: async (context, config) => {
    const { anchorNeeds, anchorsOfRun, CraftStrategy } = await import('./index.js');
    const anchors = await anchorsOfRun(context, config, anchorNeeds(config), 'craft');
    return new CraftStrategy({
      ...context,
      anchors,
      config,
      steps: context.config.steps,
      accumulation: context.config.gradient_accumulation_steps,
    });
  },
};
