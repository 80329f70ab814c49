import { CraftError } from '@craft-ft/torch';
import { z } from 'zod';
import type { Problem } from '../config/check.js';
import { findRegistration } from '../registry.js';

/**
 * `--peft.*`: train low-rank adapters (LoRA) instead of all weights. Names and defaults are LeRobot's `PeftConfig`; LoRA is the
 * only supported method. `lora_dropout` and `use_rslora` are PEFT's, and not among LeRobot's flags.
 */
export const peftConfigSchema = z.strictObject({
  target_modules: z
    .union([z.array(z.string().min(1)).min(1), z.string().min(1)])
    .nullable()
    .default(null)
    .meta({
      description:
        'Linear layers that get an adapter: a list of names or their endings (["q_proj", "v_proj"]), one regular expression that ' +
        "matches whole names, or all-linear. null: the policy's default, which ACT has not.",
      typeText: '[text, ...], regular expression, all-linear or null',
    }),
  full_training_modules: z
    .array(z.string().min(1))
    .nullable()
    .default(null)
    .describe('Modules (by name or ending) that are trained in full and saved beside the adapters.'),
  method_type: z
    .string()
    .regex(/^lora$/i, 'expected LORA')
    .default('LORA')
    .meta({ description: 'Kind of adapter.', typeText: 'LORA' }),
  init_type: z
    .enum(['gaussian'])
    .nullable()
    .default(null)
    .describe(
      "How the adapters' first matrix starts. null: uniform, as in LoRA's reference; gaussian: deviation 1/r. The second is zero.",
    ),
  r: z.int().min(1).default(16).describe('Rank of the adapters: more learns more and needs more memory.'),
  lora_alpha: z
    .number()
    .gt(0)
    .nullable()
    .default(null)
    .describe('Strength: the update is scaled by lora_alpha / r. null: 8, as PEFT. Often r or 2 r.'),
  lora_dropout: z
    .number()
    .min(0)
    .lt(1)
    .default(0)
    .describe("Dropout on the adapters' inputs. Not a flag of LeRobot."),
  use_rslora: z
    .boolean()
    .default(false)
    .describe('Scale by lora_alpha / √r instead (Kalajdzievski, 2023). Not a flag of LeRobot.'),
});
export type PeftConfig = z.infer<typeof peftConfigSchema>;

/** LeRobot rejects unknown fields, so PEFT's own are left out at their defaults. */
export function peftForLeRobot(config: PeftConfig): Partial<PeftConfig> {
  const { lora_dropout: dropout, use_rslora: stabilised, ...own } = config;
  return {
    ...own,
    ...(dropout === 0 ? {} : { lora_dropout: dropout }),
    ...(stabilised ? { use_rslora: true } : {}),
  };
}

/** Rules between `peft` and the policy. Reads no file. */
export function validatePeft(
  peft: PeftConfig | null,
  policy: { type: string; pretrained_path: string | null },
): Problem[] {
  if (peft === null) return [];
  if (policy.pretrained_path === null) {
    const message = 'adapters change a trained policy: give it with --policy.path';
    return [{ field: 'policy.pretrained_path', found: null, message }];
  }
  if (peft.target_modules === null && defaultTargets(policy.type) === null) {
    const message = `${policy.type} has no default: name the layers, such as '["linear1", "linear2"]' or all-linear`;
    return [{ field: 'peft.target_modules', found: null, message }];
  }
  return [];
}

// The layers that get an adapter by default; null if there is no good choice.
function defaultTargets(policyType: string): string | null {
  return findRegistration(policyType)?.loraTargets ?? null;
}

/** The supported part of PEFT's `LoraConfig`. */
export interface LoraSettings {
  readonly r: number;
  readonly loraAlpha: number;
  readonly loraDropout: number;
  readonly useRslora: boolean;
  readonly init: 'uniform' | 'gaussian';
  /** Names or their endings, or a regular expression for the full name. */
  readonly targetModules: string | readonly string[];
  /** Endings of the names of modules that are trained in full. */
  readonly modulesToSave: readonly string[];
  /** Ranks and alphas that differ from the default, by a regular expression for the end of a module's name. */
  readonly rankPattern: Readonly<Record<string, number>>;
  readonly alphaPattern: Readonly<Record<string, number>>;
  /** Folder or `user/name` of the policy that the adapters belong to. */
  readonly baseModel: string;
}

/** PEFT's default `lora_alpha`, which LeRobot does not change. */
const DEFAULT_ALPHA = 8;

/**
 * The LoRA settings that `--peft.*` asks for.
 *
 * @param baseModel folder or `user/name` of the policy that gets the adapters
 * @throws CraftError `LORA_TARGETS` if neither the flags nor the policy name layers
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

/** Rank and scaling factor of one layer. */
export function layerScale(settings: LoraSettings, name: string): { r: number; scaling: number } {
  const pick = (patterns: Readonly<Record<string, number>>, otherwise: number) =>
    Object.entries(patterns).find(([ending]) => new RegExp(`^(.*\\.)?(${ending})$`).test(name))?.[1] ??
    otherwise;
  const r = pick(settings.rankPattern, settings.r);
  const alpha = pick(settings.alphaPattern, settings.loraAlpha);
  return { r, scaling: alpha / (settings.useRslora ? Math.sqrt(r) : r) };
}
