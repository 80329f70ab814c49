import { existsSync } from 'node:fs';
import { CraftError, safetensors } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';
import type { ResNetBackbone } from './resnet.js';

/** torchvision's names for weights, such as `ResNet18_Weights.IMAGENET1K_V1`. */
const TORCHVISION_NAME = /^(ResNet\d+)_Weights\.(\w+)$/;

/** Tensors of torchvision's classifiers that the backbone has no use for: the last layer, and batch norm's step counters. */
const UNUSED = /^fc\.(weight|bias)$|\.num_batches_tracked$/;

/** Whether the configuration names weights that the backbone starts from, and has a backbone at all. */
function wantsWeights(config: ActConfig): boolean {
  const cameras = Object.values(config.input_features).some(({ type }) => type === 'VISUAL');
  return cameras && config.pretrained_backbone_weights !== null;
}

function isTorchvisionName(weights: string): boolean {
  return TORCHVISION_NAME.test(weights);
}

/**
 * The file of `pretrained_backbone_weights`, or null where there is nothing to load.
 *
 * @throws CraftError `POLICY_BACKBONE` for torchvision's name of weights, saying how to get the file, and for a file that is not there
 */
export function findBackboneWeights(config: ActConfig): string | null {
  if (!wantsWeights(config)) return null;
  const weights = config.pretrained_backbone_weights!;
  const field = `policy.pretrained_backbone_weights=${weights}`;
  const [, network, version] = TORCHVISION_NAME.exec(weights) ?? [];
  if (network !== undefined) {
    const model = network.toLowerCase();
    throw new CraftError(
      'POLICY_BACKBONE',
      `${field}: torchvision's weights are not downloaded here; name the same ones on the Hub (timm/resnet18.tv_in1k for resnet18), or a safetensors file ` +
        `(--policy.pretrained_backbone_weights=${model}.safetensors), which Python writes with: from torchvision.models import ` +
        `get_model; from safetensors.torch import save_file; save_file(get_model('${model}', weights='${version}').state_dict(), ` +
        `'${model}.safetensors'). Or set it to null for random weights, or start from a policy with --policy.path`,
    );
  }
  if (!existsSync(weights)) {
    throw new CraftError(
      'POLICY_BACKBONE',
      `${field}: no such file; expected a safetensors file of torchvision's ${config.vision_backbone}, or null for random weights`,
    );
  }
  return weights;
}

/**
 * The configuration of a policy whose weights are its own: a file that they came from is forgotten, because a checkpoint needs it no
 * more and LeRobot knows only torchvision's names there.
 */
export function forgetBackboneFile(config: ActConfig): ActConfig {
  const weights = config.pretrained_backbone_weights;
  return weights === null || isTorchvisionName(weights)
    ? config
    : { ...config, pretrained_backbone_weights: null };
}

/**
 * Loads a classifier's weights under torchvision's names. Strict, but for the classifier's own last layer and the counters of batch
 * normalisation.
 *
 * @param path a safetensors file
 * @throws CraftError STATE_DICT_MISMATCH naming the tensors, SAFETENSORS_INVALID
 */
export function loadBackboneWeights(backbone: ResNetBackbone, path: string): void {
  const weights = safetensors.loadFile(path);
  const used = new Map([...weights].filter(([name]) => !UNUSED.test(name)));
  try {
    backbone.loadStateDict(used, { source: path });
  } finally {
    for (const tensor of weights.values()) tensor.dispose();
  }
}
