import { existsSync } from 'node:fs';
import { CraftError, nn, safetensors, type Tensor } from '@craft-ft/torch';
import type { ActConfig } from './configuration.js';

/** Blocks and channels of each stage; the first convolution has the channels of the first stage. */
interface ResNetShape {
  blocks: readonly number[];
  widths: readonly number[];
}

/**
 * `resnet18_quarter` and `resnet18_narrow` are not LeRobot's: resnet18 with a quarter of its channels, which learns from small
 * images without a GPU, and with an eighth, for tests.
 */
const RESNETS: Readonly<Record<string, ResNetShape>> = {
  resnet18: { blocks: [2, 2, 2, 2], widths: [64, 128, 256, 512] },
  resnet34: { blocks: [3, 4, 6, 3], widths: [64, 128, 256, 512] },
  resnet18_quarter: { blocks: [2, 2, 2, 2], widths: [16, 32, 64, 128] },
  resnet18_narrow: { blocks: [2, 2, 2, 2], widths: [8, 16, 32, 64] },
};

function convolution(inputs: number, outputs: number, kernel: number, stride: number): nn.Conv2d {
  const layer = new nn.Conv2d(inputs, outputs, kernel, {
    stride,
    padding: Math.floor(kernel / 2),
    bias: false,
  });
  nn.init.kaimingNormal_(layer.weight, 'fanOut');
  return layer;
}

/** Two 3×3 convolutions with a residual connection, as torchvision's `BasicBlock`. */
class BasicBlock extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.FrozenBatchNorm2d;
  readonly conv2: nn.Conv2d;
  readonly bn2: nn.FrozenBatchNorm2d;
  readonly downsample: nn.Sequential | null;

  constructor(inputs: number, outputs: number, stride: number) {
    super();
    this.conv1 = convolution(inputs, outputs, 3, stride);
    this.bn1 = new nn.FrozenBatchNorm2d(outputs);
    this.conv2 = convolution(outputs, outputs, 3, 1);
    this.bn2 = new nn.FrozenBatchNorm2d(outputs);
    this.downsample =
      stride === 1 && inputs === outputs
        ? null
        : new nn.Sequential(convolution(inputs, outputs, 1, stride), new nn.FrozenBatchNorm2d(outputs));
  }

  override forward(x: Tensor): Tensor {
    const first = this.bn1.call(this.conv1.call(x)).relu();
    const second = this.bn2.call(this.conv2.call(first));
    return second.add(this.downsample === null ? x : this.downsample.call(x)).relu();
  }
}

/**
 * A ResNet (He et al., 2016) up to its last stage, with frozen batch normalisation: an image `[B, 3, H, W]` becomes features
 * `[B, channels, H/32, W/32]`. Names are torchvision's.
 */
export class ResNetBackbone extends nn.Module {
  readonly conv1: nn.Conv2d;
  readonly bn1: nn.FrozenBatchNorm2d;
  readonly maxpool: nn.MaxPool2d;
  readonly layer1: nn.Sequential;
  readonly layer2: nn.Sequential;
  readonly layer3: nn.Sequential;
  readonly layer4: nn.Sequential;
  /** Channels of the features. */
  readonly outChannels: number;

  /**
   * Random weights, as torchvision's without pretrained ones.
   *
   * @throws CraftError `POLICY_BACKBONE` for a network that is not built in, or dilation, which basic blocks do not have
   */
  constructor(name: string, dilateLast: boolean) {
    super();
    const shape = Object.hasOwn(RESNETS, name) ? RESNETS[name] : undefined;
    if (shape === undefined) {
      const known = Object.keys(RESNETS).join(', ');
      throw new CraftError('POLICY_BACKBONE', `policy.vision_backbone=${name}: expected one of ${known}`);
    }
    if (dilateLast) {
      const message = `policy.replace_final_stride_with_dilation: ${name} has no dilated form; set it to false`;
      throw new CraftError('POLICY_BACKBONE', message);
    }
    const [width = 0] = shape.widths;
    this.conv1 = convolution(3, width, 7, 2);
    this.bn1 = new nn.FrozenBatchNorm2d(width);
    this.maxpool = new nn.MaxPool2d(3, 2, 1);
    const stages = shape.widths.map((outputs, i) => {
      const inputs = i === 0 ? width : shape.widths[i - 1]!;
      const first = new BasicBlock(inputs, outputs, i === 0 ? 1 : 2);
      const others = Array.from({ length: shape.blocks[i]! - 1 }, () => new BasicBlock(outputs, outputs, 1));
      return new nn.Sequential(first, ...others);
    });
    [this.layer1, this.layer2, this.layer3, this.layer4] = stages as [
      nn.Sequential,
      nn.Sequential,
      nn.Sequential,
      nn.Sequential,
    ];
    this.outChannels = shape.widths.at(-1)!;
  }

  override forward(image: Tensor): Tensor {
    const stem = this.maxpool.call(this.bn1.call(this.conv1.call(image)).relu());
    return this.layer4.call(this.layer3.call(this.layer2.call(this.layer1.call(stem))));
  }
}

/** torchvision's names for weights, such as `ResNet18_Weights.IMAGENET1K_V1`. */
const TORCHVISION_NAME = /^(ResNet\d+)_Weights\.(\w+)$/;

/** Tensors of torchvision's classifiers that the backbone does not use: the last layer, and batch norm's step counters. */
const UNUSED = /^fc\.(weight|bias)$|\.num_batches_tracked$/;

/** Whether the configuration names weights that the backbone starts from, and has a backbone at all. */
export function wantsWeights(config: ActConfig): boolean {
  const cameras = Object.values(config.input_features).some(({ type }) => type === 'VISUAL');
  return cameras && config.pretrained_backbone_weights !== null;
}

function isTorchvisionName(weights: string): boolean {
  return TORCHVISION_NAME.test(weights);
}

/**
 * The file of `pretrained_backbone_weights`, or null if there is nothing to load.
 *
 * @throws CraftError `POLICY_BACKBONE` for one of torchvision's names, saying how to get the file, and for a missing file
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
 * The configuration of a policy that holds its own weights: drops the file they came from, because a checkpoint no longer needs it
 * and LeRobot knows only torchvision's names there.
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
