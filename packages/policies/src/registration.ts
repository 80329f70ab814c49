import type { PlainObject } from '@craft-ft/datasets/json';
import type { safetensors } from '@craft-ft/torch';
import type { z } from 'zod';
import type { Problem } from './config/check.js';
import type { OptimizerConfig, SchedulerConfig } from './config/optim.js';
import type { LanguageModel, Policy } from './policy.js';
import type { PolicySteps } from './processors/load.js';
import type { PolicyProcessors } from './processors/pipeline.js';
import type { RelativeActions } from './processors/relative-actions.js';
import type { StatTensors } from './processors/stats.js';

/** Offsets in frames, relative to the sampled frame, that a policy needs of each kind of key; null: the frame itself. */
export interface DeltaIndices {
  observation: number[] | null;
  action: number[] | null;
  reward: number[] | null;
}

/** What processors are made with besides a configuration and statistics. */
export interface MakeProcessorsOptions {
  /** Where the preprocessor puts its tensors. */
  device: string;
  /** Names of a robot's or dataset's observations → the policy's. */
  renameMap?: Readonly<Record<string, string>>;
  /** Names the dataset or file in messages. */
  where: string;
  /** Receives one-line warnings of steps. Default: `console.warn`. */
  onWarning?: (message: string) => void;
}

/**
 * Everything the project has to know of a kind of policy. A policy is a folder whose `index.ts` exports one of these, and a line in
 * `registry.ts`; nothing else asks which policy it has.
 *
 * @typeParam S the configuration's schema: a strict object with `type: z.literal(NAME)` and `...basePolicyFields`
 */
export interface PolicyRegistration<S extends z.ZodType<{ type: string }>> {
  readonly schema: S;
  /** Rules between the fields. */
  validate(config: z.infer<S>): Problem[];
  /** The optimiser that belongs to the policy. */
  optimizerPreset(config: z.infer<S>): OptimizerConfig;
  /** The learning-rate schedule that belongs to the policy; null: a constant rate. */
  schedulerPreset(config: z.infer<S>): SchedulerConfig | null;
  /** The frames that a sample is made of. */
  deltaIndices(config: z.infer<S>): DeltaIndices;
  /** Fields that LeRobot, or some version of it, does not have, with the value under which a policy is LeRobot's. */
  readonly extensions: Partial<z.infer<S>>;

  /**
   * The policy with random weights.
   *
   * @param pretrained whether weights are loaded afterwards, so that those it would start from need not be found
   */
  make(config: z.infer<S>, pretrained: boolean): Policy;
  /** The processors with LeRobot's steps in LeRobot's order. */
  makeProcessors(config: z.infer<S>, stats: StatTensors, options: MakeProcessorsOptions): PolicyProcessors;
  /** How its own steps, and shared ones in which its configuration has a say, are made from a file; by LeRobot's names. */
  readonly savedSteps?: PolicySteps<z.infer<S>>;
  /** Which actions are relative to the state, and so need statistics of their own; null: none. Absent: the policy has no such actions. */
  relativeActions?(config: z.infer<S>): RelativeActions | null;

  /** Downloads the weights that a new policy starts from, and names the file in the configuration. */
  fetchBackbone?(config: z.infer<S>): Promise<z.infer<S>>;
  /** Downloads the tokenisers that the configuration names, and tries whether they fit each other and the model. */
  fetchTokenizers?(config: z.infer<S>, onWarning: (message: string) => void): Promise<void>;

  /** The fields of a checkpoint's `config.json` with those files found that lie in its folder, wherever they lay when it was written. */
  findOwnFiles?(fields: PlainObject, dir: string): PlainObject;
  /** Where a tensor of a checkpoint belongs: its name here, then others it fills in for (`nn.loadCheckpoint`). Absent: where its name says. */
  checkpointNames?(name: string): readonly string[];
  /** The field that decides the model's size, such as `paligemma_variant=gemma_300m`. */
  readonly variant?: {
    of(config: z.infer<S>): string;
    /** What the shapes of weights say; null where they say nothing. */
    ofWeights(file: safetensors.TensorSource): string | null;
  };

  /** The layers that get a LoRA adapter unless told otherwise, as a regular expression. Absent: there is no good choice. */
  readonly loraTargets?: string;
  /** The language model inside the policy, which multiple-choice questions are put to. Absent: it has none. */
  languageModel?(policy: Policy): LanguageModel;
}
