import { CraftError } from '@craft-ft/torch';
import { defaultTargets, type PeftConfig } from './config.js';

/** What adapters are made from: PEFT's `LoraConfig`, as far as it is supported. */
export interface LoraSettings {
  readonly r: number;
  readonly loraAlpha: number;
  readonly loraDropout: number;
  readonly useRslora: boolean;
  readonly init: 'uniform' | 'gaussian';
  /** Names or their endings, or a regular expression for whole names. */
  readonly targetModules: string | readonly string[];
  /** Endings of the modules that are trained in full. */
  readonly modulesToSave: readonly string[];
  /** Ranks and strengths that differ, by the ending of a module's name (a regular expression). */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Folder or `user/name` of the policy that the adapters belong to. */
  readonly baseModel: string;
}

/** PEFT's default strength, which LeRobot leaves alone. */
const DEFAULT_ALPHA = 8;

/**
 * What `--peft.*` asks for.
 *
 * @param baseModel folder or `user/name` of the policy that gets the adapters
 * @throws CraftError `LORA_TARGETS` where neither the flags nor the policy name layers
 */
export function loraSettings(peft: PeftConfig, policyType: string, baseModel: string): LoraSettings {
  const targetModules = peft.target_modules ?? defaultTargets(policyType);
  if (targetModules === null) {
    throw new CraftError(
      'LORA_TARGETS',
      `peft.target_modules: ${policyType} has no default; name the layers that are to get an adapter`,
    );
  }
  return {
    r: peft.r,
    loraAlpha: peft.lora_alpha ?? DEFAULT_ALPHA,
    loraDropout: peft.lora_dropout,
    useRslora: peft.use_rslora,
    init: peft.init_type ?? 'uniform',
    targetModules,
    modulesToSave: peft.full_training_modules ?? [],
    rankPattern: {},
    alphaPattern: {},
    baseModel,
  };
}

/** Rank and factor of one layer. */
export function layerScale(settings: LoraSettings, name: string): { r: number; scaling: number } {
  const pick = (patterns: Readonly<Record<string, number>>, otherwise: number) =>
    Object.entries(patterns).find(([ending]) => new RegExp(`^(.*\\.)?(${ending})$`).test(name))?.[1] ??
    otherwise;
  const r = pick(settings.rankPattern, settings.r);
  const alpha = pick(settings.alphaPattern, settings.loraAlpha);
  return { r, scaling: alpha / (settings.useRslora ? Math.sqrt(r) : r) };
}
