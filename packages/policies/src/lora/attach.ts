import { CraftError, nn, noGrad, scope, type Tensor } from '@craft-ft/torch';
import type { Policy } from '../policy.js';
import { type LoraSettings, layerScale } from './config.js';
import { type LoraAdapter, LoraLinear } from './lora-linear.js';

/** A layer with an adapter. */
interface LoraLayer {
  /** As in {@link LoraTarget}. */
  name: string;
  layer: LoraLinear;
  adapter: LoraAdapter;
}

/** The adapters of a policy. */
export interface AttachedLora {
  readonly settings: LoraSettings;
  readonly layers: readonly LoraLayer[];
  /** Names of the modules that are trained in full. */
  readonly fullyTrained: readonly string[];
}

const attached = new WeakMap<Policy, AttachedLora>();

/** The adapters that {@link attachLora} gave to a policy, or null. */
export function attachedLora(policy: Policy): AttachedLora | null {
  return attached.get(policy) ?? null;
}

/**
 * Adds adapters to linear layers of a policy and freezes everything else. From then on `parameterGroups` holds only the adapters
 * and what is trained in full, and so do gradients, optimiser, CRaFT's gradient surgery and checkpoints. The output is unchanged
 * until the first step. Random numbers are drawn for every adapter, in the order of the layers.
 *
 * @throws CraftError `LORA_TARGETS` if the settings do not fit the policy; `LORA_ATTACHED` if it already has adapters
 *
 * @example
 * ```ts
 * attachLora(policy, loraSettings(config.peft, config.policy.type, '/path/of/the/base'));
 * policy.parameterGroups()[0].parameters.map(([name]) => name); // […, 'model.….q_proj.adapter.lora_A.weight', …]
 * ```
 */
export function attachLora(policy: Policy, settings: LoraSettings): AttachedLora {
  if (attached.has(policy)) {
    throw new CraftError(
      'LORA_ATTACHED',
      'the policy has adapters already; merge them into it first (craft export)',
    );
  }
  const targets = findTargets(policy, settings);
  const full = findFullyTrained(policy, settings.modulesToSave);
  policy.requiresGrad_(false);
  for (const [, module] of full) module.requiresGrad_(true);
  const layers = targets.map(({ name, layer: base }): LoraLayer => {
    const layer = new LoraLinear(base, {
      ...layerScale(settings, name),
      dropout: settings.loraDropout,
      init: settings.init,
    });
    layer.train(policy.training);
    replaceModule(policy, name, layer);
    return { name, layer, adapter: layer.adapter };
  });
  const result = { settings, layers, fullyTrained: full.map(([name]) => name) };
  attached.set(policy, result);
  return result;
}

/** Removes the adapters; the layers' own weights are unchanged. */
function detachLora(policy: Policy): void {
  for (const { name, layer, adapter } of attached.get(policy)?.layers ?? []) {
    replaceModule(policy, name, layer.base);
    adapter.dispose();
  }
  attached.delete(policy);
}

function replaceModule(policy: Policy, path: string, module: nn.Module): void {
  const cut = path.lastIndexOf('.');
  const parent = policy.namedModules().find(([name]) => name === path.slice(0, Math.max(0, cut)))![1];
  parent.replaceChild(path.slice(cut + 1), module);
}

/**
 * Adds every adapter's update to its layer's weight and removes the adapters, which leaves an ordinary policy. The sum is computed
 * in float32 and rounded once if the weight is bfloat16.
 *
 * @throws CraftError `LORA_NOT_ATTACHED`
 */
export function mergeLora(policy: Policy): void {
  const lora = attachedLora(policy);
  if (lora === null) throw new CraftError('LORA_NOT_ATTACHED', 'the policy has no adapters to merge');
  for (const { layer, adapter } of lora.layers) {
    scope(() => noGrad((): Tensor => layer.weight.copy_(layer.weight.to('float32').add(adapter.delta()))));
  }
  detachLora(policy);
}

/** A linear layer that gets an adapter. */
interface LoraTarget {
  name: string;
  layer: nn.Linear;
}

/** Excluded from `target_modules=all-linear`, as in PEFT: the layer that computes the logits over the vocabulary. */
const OUTPUT_LAYER = /(^|\.)lm_head$/;

/**
 * The linear layers that a configuration names, by PEFT's rules: a list holds names or endings, a string is a regular expression
 * for the full name, `all-linear` is every linear layer but the output layer. Modules that are trained in full get no adapter.
 *
 * @throws CraftError `LORA_TARGETS` if nothing matches, or something that cannot have an adapter does
 */
function findTargets(
  model: nn.Module,
  { targetModules, modulesToSave }: Pick<LoraSettings, 'targetModules' | 'modulesToSave'>,
): LoraTarget[] {
  const modules = model.namedModules().filter(([name]) => name !== '');
  const packed = packedOutputs(modules);
  const all = typeof targetModules === 'string' && targetModules.toLowerCase() === 'all-linear';
  const matches = all ? null : matcher(targetModules);
  const targets: LoraTarget[] = [];
  for (const [name, module] of modules) {
    if (modulesToSave.some((ending) => below(name, ending))) continue;
    if (matches === null) {
      if (!(module instanceof nn.Linear) || packed.has(name) || OUTPUT_LAYER.test(name)) continue;
    } else if (!matches(name)) continue;
    targets.push({ name, layer: requireLinear(name, module, packed) });
  }
  if (targets.length > 0) return targets;
  const endings = [...new Set(linearNames(modules, packed).map((name) => name.split('.').at(-1)!))];
  throw new CraftError(
    'LORA_TARGETS',
    `peft.target_modules=${JSON.stringify(targetModules)} matches no layer; linear layers end in ${endings.join(', ')}`,
  );
}

/**
 * The modules that are trained in full: those whose name ends in one of `endings`.
 *
 * @throws CraftError `LORA_TARGETS` for an ending that matches nothing
 */
function findFullyTrained(model: nn.Module, endings: readonly string[]): [string, nn.Module][] {
  const modules = model.namedModules().filter(([name]) => name !== '');
  for (const ending of endings) {
    if (modules.some(([name]) => name.endsWith(ending))) continue;
    throw new CraftError('LORA_TARGETS', `peft.full_training_modules: no module ends in "${ending}"`);
  }
  const matching = modules.filter(([name]) => endings.some((ending) => name.endsWith(ending)));
  // A module inside one that is listed already needs no entry.
  return matching.filter(([name]) => !matching.some(([outer]) => name.startsWith(`${outer}.`)));
}

function below(name: string, ending: string): boolean {
  return name.split('.').some((_, i, parts) =>
    parts
      .slice(0, i + 1)
      .join('.')
      .endsWith(ending),
  );
}

function matcher(targets: string | readonly string[]): (name: string) => boolean {
  if (typeof targets !== 'string') {
    return (name) => targets.some((target) => name === target || name.endsWith(`.${target}`));
  }
  let whole: RegExp;
  try {
    whole = new RegExp(`^(?:${targets})$`);
  } catch (error) {
    const reason = (error as Error).message;
    throw new CraftError('LORA_TARGETS', `peft.target_modules: ${reason}; a list of names is simpler`);
  }
  return (name) => whole.test(name);
}

function packedOutputs(modules: readonly [string, nn.Module][]): Set<string> {
  return new Set(
    modules.flatMap(([name, module]) =>
      module instanceof nn.MultiheadAttention ? [`${name}.out_proj`] : [],
    ),
  );
}

function requireLinear(name: string, module: nn.Module, packed: ReadonlySet<string>): nn.Linear {
  if (module instanceof nn.MultiheadAttention || packed.has(name)) {
    const what = `peft.target_modules: ${name} belongs to a packed attention (torch.nn.MultiheadAttention)`;
    throw new CraftError(
      'LORA_TARGETS',
      `${what}, where an adapter has no effect; name linear layers besides it`,
    );
  }
  if (module instanceof nn.Linear) return module;
  throw new CraftError(
    'LORA_TARGETS',
    `peft.target_modules: ${name} is a ${module.constructor.name}; only linear layers can have an adapter`,
  );
}

function linearNames(modules: readonly [string, nn.Module][], packed: ReadonlySet<string>): string[] {
  return modules.flatMap(([name, module]) =>
    module instanceof nn.Linear && !packed.has(name) ? [name] : [],
  );
}
