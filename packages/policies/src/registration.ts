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

/** The frames that a policy needs of each kind of key, as offsets from the sampled frame; null: the frame itself. */
export interface DeltaIndices {
  observation: number[] | null;
  action: number[] | null;
  reward: number[] | null;
}

/** Options of processors besides configuration and statistics. */
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
 * Everything the project needs to know about a kind of policy. A policy is a folder whose `index.ts` exports one of these, and a
 * line in `registry.ts`; no other code depends on the policy type.
 *
 * @typeParam S the configuration's schema: a strict object with `type: z.literal(NAME)` and `...basePolicyFields`
 */
export interface PolicyRegistration<S extends z.ZodType<{ type: string }>> {
  readonly schema: S;
  /** Rules between the fields. */
  validate(config: z.infer<S>): Problem[];
  /** The policy's default optimiser. */
  optimizerPreset(config: z.infer<S>): OptimizerConfig;
  /** The policy's default learning-rate schedule; null: a constant rate. */
  schedulerPreset(config: z.infer<S>): SchedulerConfig | null;
  /** The frames that make up a sample. */
  deltaIndices(config: z.infer<S>): DeltaIndices;
  /** Fields that some or all versions of LeRobot lack, with the value at which the policy equals LeRobot's. */
  readonly extensions: Partial<z.infer<S>>;

  /**
   * The policy with random weights.
   *
   * @param pretrained whether weights are loaded afterwards, so that initial weights are not needed
   */
  make(config: z.infer<S>, pretrained: boolean): Policy;
  /** The processors with LeRobot's steps in LeRobot's order. */
  makeProcessors(config: z.infer<S>, stats: StatTensors, options: MakeProcessorsOptions): PolicyProcessors;
  /** Builders, by LeRobot's names, of its own saved steps and of shared ones that depend on its configuration. */
  readonly savedSteps?: PolicySteps<z.infer<S>>;
  /** Which actions are relative to the state, and so need statistics of their own; null: none. Absent: the policy has no such actions. */
  relativeActions?(config: z.infer<S>): RelativeActions | null;

  /** Downloads the weights that a new policy starts from, and names the file in the configuration. */
  fetchBackbone?(config: z.infer<S>): Promise<z.infer<S>>;
  /** Downloads the tokenisers that the configuration names, and checks that they fit each other and the model. */
  fetchTokenizers?(config: z.infer<S>, onWarning: (message: string) => void): Promise<void>;

  /** Points fields of a checkpoint's `config.json` to the files in its folder, wherever those were when it was written. */
  findOwnFiles?(fields: PlainObject, dir: string): PlainObject;
  /** Maps a checkpoint tensor's name to its name here, then to others it stands in for (`nn.loadCheckpoint`). Absent: the same name. */
  checkpointNames?(name: string): readonly string[];
  /** The field that decides the model's size, such as `paligemma_variant=gemma_300m`. */
  readonly variant?: {
    of(config: z.infer<S>): string;
    /** Infers the variant from the shapes of the weights; null if they do not tell. */
    ofWeights(file: safetensors.TensorSource): string | null;
  };

  /** The layers that get a LoRA adapter by default, as a regular expression. Absent: there is no good choice. */
  readonly loraTargets?: string;
  /** The language model inside the policy, for multiple-choice questions. Absent: there is none. */
  languageModel?(policy: Policy): LanguageModel;
}
