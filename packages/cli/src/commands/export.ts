import { readPolicyConfig } from '@craft-ft/policies/config';
import { refuseUsedFolder } from '@craft-ft/training/config';
import { z } from 'zod';
import { commandOf } from '../command-of.js';

const exportSchema = z.strictObject({
  policy: z.strictObject({
    path: z
      .string()
      .min(1)
      .describe('Policy to write out: a run, a checkpoint, a model folder or user/name.'),
  }),
  output_dir: z.string().min(1).describe('Folder to write to; new or empty.'),
});

/**
 * `craft export`: writes a policy as one folder that LeRobot loads, with all weights in one `model.safetensors`. LoRA adapters are merged
 * into the weights of their base policy.
 */
export const exportCommand = commandOf({
  name: 'export',
  about: 'Writes a policy as one folder for LeRobot; LoRA adapters are merged into the weights.',
  schema: exportSchema,
  run: async ({ policy: given, output_dir: folder }, output) => {
    refuseUsedFolder(folder);
    const { attachedLora, loadPolicy, loadProcessors, mergeLora, savePolicy } = await import(
      '@craft-ft/policies'
    );
    const { dir, config } = readPolicyConfig(given.path);
    // The origin of the weights is irrelevant to what is written.
    const policy = loadPolicy(dir, { ...config, use_peft: false, pretrained_path: null });
    const layers = attachedLora(policy)?.layers.length ?? 0;
    if (layers > 0) mergeLora(policy);
    const { makeFolder } = await import('@craft-ft/torch');
    makeFolder(folder);
    savePolicy(policy, loadProcessors(dir, config, { device: 'cpu' }), folder);
    const what =
      layers > 0 ? `the adapters of ${layers} layers merged into the weights` : 'no adapters to merge';
    output.out(`${folder}: ${config.type}, ${what}\n`);
    return 0;
  },
});
