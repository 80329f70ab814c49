import { CraftError, cat, nn, noGrad, ones, randnLike, stack, type Tensor, zeros } from '@craft-ft/torch';
import { findFeature, type HiddenStates, requireInput } from '../policy.js';
import type { TensorBatch } from '../processors/step.js';
import type { ActConfig } from './configuration.js';
import { TASK_EMBEDDING } from './processors.js';
import { ResNetBackbone } from './resnet.js';
import { ActDecoder, ActEncoder, gridPositions, sinusoidalPositions } from './transformer.js';

interface ActOutput {
  /** Normalised, `[B, chunk, a]`. */
  actions: Tensor;
  /** The VAE encoder's posterior for the actions; null in evaluation mode and without the VAE. */
  posterior: Posterior | null;
}

/** Tokens `[B, n, dim_model]` with positions `[n, dim_model]`. */
interface Tokens {
  values: Tensor;
  positions: Tensor;
}

/**
 * The action chunking transformer (Zhao et al., 2023), as LeRobot's `modeling_act.py: ACT`, under its parameter names.
 *
 * Encoder tokens are, in this order: latent, `observation.state`, environment state, the instruction (an extension), each camera's
 * grid of image features. The decoder starts from zeros and attends to them with one learned query per step of the chunk.
 */
export class ActModel extends nn.Module {
  // Declared in LeRobot's order, which numbers the parameters in optimiser checkpoints.
  readonly vaeEncoder: ActEncoder | null = null;
  readonly vaeEncoderClsEmbed: nn.Embedding | null = null;
  readonly vaeEncoderRobotStateInputProj: nn.Linear | null = null;
  readonly vaeEncoderActionInputProj: nn.Linear | null = null;
  readonly vaeEncoderLatentOutputProj: nn.Linear | null = null;
  readonly vaeEncoderPosEnc: nn.Buffer | null = null;
  readonly backbone: ResNetBackbone | null = null;
  readonly encoder: ActEncoder;
  readonly decoder: ActDecoder;
  readonly encoderRobotStateInputProj: nn.Linear | null = null;
  readonly encoderEnvStateInputProj: nn.Linear | null = null;
  readonly encoderLatentInputProj: nn.Linear;
  readonly encoderImgFeatInputProj: nn.Conv2d | null = null;
  readonly encoder_1dFeaturePosEmbed: nn.Embedding;
  readonly decoderPosEmbed: nn.Embedding;
  readonly actionHead: nn.Linear;
  // Not in LeRobot: declared last, so that the others keep their numbers.
  readonly encoderTaskInputProj: nn.Linear | null = null;
  readonly config: ActConfig;
  readonly features: ActFeatures;

  /**
   * Random weights as PyTorch's layers draw them, Glorot-uniform for the matrices of encoder and decoder; decided by
   * `torch.manualSeed`.
   *
   * @throws CraftError `POLICY_FEATURES`, `POLICY_BACKBONE`
   */
  constructor(config: ActConfig) {
    super();
    const { dim_model: dim, latent_dim: latent, chunk_size: chunk } = config;
    const features = actFeatures(config);
    const { state, environment, cameras, action } = features;
    const actionDim = action.shape[0]!;
    this.config = config;
    this.features = features;
    if (config.use_vae) {
      this.vaeEncoder = new ActEncoder(config, config.n_vae_encoder_layers);
      this.vaeEncoderClsEmbed = new nn.Embedding(1, dim);
      if (state !== undefined) this.vaeEncoderRobotStateInputProj = new nn.Linear(state.shape[0]!, dim);
      this.vaeEncoderActionInputProj = new nn.Linear(actionDim, dim);
      this.vaeEncoderLatentOutputProj = new nn.Linear(dim, latent * 2);
      const tokens = 1 + (state === undefined ? 0 : 1) + chunk;
      this.vaeEncoderPosEnc = new nn.Buffer(sinusoidalPositions(tokens, dim).unsqueeze(0));
    }
    if (cameras.length > 0) {
      this.backbone = new ResNetBackbone(config.vision_backbone, config.replace_final_stride_with_dilation);
    }
    this.encoder = new ActEncoder(config, config.n_encoder_layers);
    this.decoder = new ActDecoder(config);
    if (state !== undefined) this.encoderRobotStateInputProj = new nn.Linear(state.shape[0]!, dim);
    if (environment !== undefined) this.encoderEnvStateInputProj = new nn.Linear(environment.shape[0]!, dim);
    this.encoderLatentInputProj = new nn.Linear(latent, dim);
    if (this.backbone !== null)
      this.encoderImgFeatInputProj = new nn.Conv2d(this.backbone.outChannels, dim, 1);
    const { task_embedding_dim: taskDim } = config;
    const vectors =
      1 + (state === undefined ? 0 : 1) + (environment === undefined ? 0 : 1) + (taskDim === 0 ? 0 : 1);
    this.encoder_1dFeaturePosEmbed = new nn.Embedding(vectors, dim);
    this.decoderPosEmbed = new nn.Embedding(chunk, dim);
    this.actionHead = new nn.Linear(dim, actionDim);
    if (taskDim > 0) this.encoderTaskInputProj = new nn.Linear(taskDim, dim);
    for (const parameter of [...this.encoder.parameters(), ...this.decoder.parameters()]) {
      if (parameter.ndim > 1) nn.init.xavierUniform_(parameter);
    }
  }

  /**
   * @param batch inputs by feature name; in training with the VAE also `action` `[B, chunk, a]` and `action_is_pad` bool
   * `[B, chunk]`, and optionally `noise` `[B, latent_dim]` in place of random numbers
   */
  override forward(batch: TensorBatch): ActOutput {
    const posterior = this.training && this.config.use_vae ? this.posterior(batch) : null;
    const inputs = this.inputs(batch);
    const size = inputs[0]!.size(0);
    const { chunk_size: chunk, dim_model: dim, latent_dim: latentDim } = this.config;
    const device = this.actionHead.weight.device;
    const dtype = this.actionHead.weight.dtype;
    const noise = batch.noise === undefined ? null : requireInput(batch, 'noise', [latentDim]);
    const latent =
      posterior === null ? zeros([size, latentDim], { device, dtype }) : sampleLatent(posterior, noise);
    const { values, positions } = this.tokens(latent, batch);
    const encoded = this.encoder.call(values, positions);
    const blank = zeros([size, chunk, dim], { device, dtype });
    const decoded = this.decoder.call(blank, encoded, this.decoderPosEmbed.weight, positions);
    return { actions: this.actionHead.call(decoded), posterior };
  }

  /**
   * Hidden states of the encoder, with the latent variable at its mean of zero as in inference. The embeddings exclude the
   * positions, which every layer adds itself.
   */
  hiddenStates(batch: TensorBatch): HiddenStates {
    const size = this.inputs(batch)[0]!.size(0);
    const { device, dtype } = this.actionHead.weight;
    const latent = zeros([size, this.config.latent_dim], { device, dtype });
    const { values, positions } = this.tokens(latent, batch);
    const start = this.encoder_1dFeaturePosEmbed.weight.size(0);
    const length = values.size(1);
    return {
      layers: this.encoder.hiddenStates(values, positions),
      mask: ones([size, length], { dtype: 'bool', device }),
      image: { start, length: length - start },
    };
  }

  // The configured inputs, their shapes checked.
  private inputs(batch: TensorBatch): Tensor[] {
    const { state, environment, cameras } = this.features;
    return [state, environment, ...cameras]
      .filter((feature) => feature !== undefined)
      .map(({ name, shape }) => requireInput(batch, name, shape));
  }

  private tokens(latent: Tensor, batch: TensorBatch): Tokens {
    const { state, environment, cameras } = this.features;
    const vectors = [this.encoderLatentInputProj.call(latent)];
    if (state !== undefined) vectors.push(this.encoderRobotStateInputProj!.call(batch[state.name]!));
    if (environment !== undefined)
      vectors.push(this.encoderEnvStateInputProj!.call(batch[environment.name]!));
    if (this.encoderTaskInputProj !== null) {
      const task = requireInput(batch, TASK_EMBEDDING, [this.config.task_embedding_dim]);
      vectors.push(this.encoderTaskInputProj.call(task));
    }
    const groups: Tokens[] = [
      { values: stack(vectors, 1), positions: this.encoder_1dFeaturePosEmbed.weight },
      ...cameras.map(({ name }) => this.cameraTokens(batch[name]!)),
    ];
    return {
      values: cat(
        groups.map((group) => group.values),
        1,
      ),
      positions: cat(
        groups.map((group) => group.positions),
        0,
      ),
    };
  }

  // One token per cell of the last feature map.
  private cameraTokens(image: Tensor): Tokens {
    const map = this.encoderImgFeatInputProj!.call(this.backbone!.call(image));
    const [, dim, height, width] = map.shape as [number, number, number, number];
    return {
      values: map.flatten(2).transpose(1, 2),
      positions: gridPositions(height, width, dim / 2, image.device),
    };
  }

  // A class token, the state and the actions go through the VAE encoder; the class token's output is the Gaussian.
  private posterior(batch: TensorBatch): Posterior {
    const { chunk_size: chunk, latent_dim: latent, dim_model: dim } = this.config;
    const { state, action } = this.features;
    const actions = requireInput(batch, action.name, [chunk, ...action.shape]);
    const padded = requireInput(batch, `${action.name}_is_pad`, [chunk]);
    const size = actions.size(0);
    const tokens = [this.vaeEncoderClsEmbed!.weight.expand([size, 1, dim])];
    if (state !== undefined) {
      const values = requireInput(batch, state.name, state.shape);
      tokens.push(this.vaeEncoderRobotStateInputProj!.call(values).unsqueeze(1));
    }
    const kept = zeros([size, tokens.length], { dtype: 'bool', device: padded.device });
    tokens.push(this.vaeEncoderActionInputProj!.call(actions));
    const encoded = this.vaeEncoder!.call(cat(tokens, 1), this.vaeEncoderPosEnc!, cat([kept, padded], 1));
    const parameters = this.vaeEncoderLatentOutputProj!.call(encoded.select(1, 0));
    return { mu: parameters.narrow(1, 0, latent), logSigmaX2: parameters.narrow(1, latent, latent) };
  }
}

/** The VAE encoder's Gaussian over the latent variable; both `[B, latent_dim]`. */
interface Posterior {
  mu: Tensor;
  /** log σ², so that σ = exp(log σ² / 2). */
  logSigmaX2: Tensor;
}

/** μ + σ · noise. @param noise standard normal, `[B, latent_dim]`; drawn from libtorch's default generator where null */
function sampleLatent({ mu, logSigmaX2 }: Posterior, noise: Tensor | null): Tensor {
  const drawn = noise ?? noGrad(() => randnLike(mu));
  return mu.add(logSigmaX2.div(2).exp().mul(drawn));
}

/** KL divergence from the standard normal, summed over the latent dimensions, averaged over the batch: scalar. */
export function klDivergence({ mu, logSigmaX2 }: Posterior): Tensor {
  const perDimension = logSigmaX2.add(1).sub(mu.square()).sub(logSigmaX2.exp()).mul(-0.5);
  return perDimension.sum([-1]).mean();
}

/** A feature that ACT uses. */
interface ActFeature {
  /** Its key in a batch. */
  readonly name: string;
  /** Without the batch dimension. */
  readonly shape: readonly number[];
}

/** The inputs and the output of an ACT model, as LeRobot selects them from a configuration. */
interface ActFeatures {
  /** `observation.state`, `[s]`. Other features of type STATE are not used. */
  readonly state: ActFeature | undefined;
  /** The first feature of type ENV, `[e]`. */
  readonly environment: ActFeature | undefined;
  /** Every feature of type VISUAL, `[channels, height, width]`, in the configuration's order. */
  readonly cameras: readonly ActFeature[];
  /** `action`, `[a]` */
  readonly action: ActFeature;
}

/** @throws CraftError `POLICY_FEATURES` if there is no input or no action, or one is not a vector */
function actFeatures(config: Pick<ActConfig, 'input_features' | 'output_features'>): ActFeatures {
  const { input_features: inputs, output_features: outputs } = config;
  const state = findFeature(inputs, (name, type) => type === 'STATE' && name === 'observation.state');
  const environment = findFeature(inputs, (_, type) => type === 'ENV');
  const action = findFeature(outputs, (name, type) => type === 'ACTION' && name === 'action');
  const cameras = Object.entries(inputs)
    .filter(([, { type }]) => type === 'VISUAL')
    .map(([name, { shape }]) => ({ name, shape }));
  if (action === undefined) {
    throw refuse(
      'policy.output_features: ACT needs "action" of type ACTION; map the dataset\'s name with --rename_map',
    );
  }
  if (state === undefined && environment === undefined && cameras.length === 0) {
    const message =
      'policy.input_features: ACT needs observation.state, observation.environment_state or a camera';
    throw refuse(`${message}; map the dataset's names with --rename_map`);
  }
  for (const vector of [state, environment, action]) {
    if (vector !== undefined && vector.shape.length !== 1) {
      throw refuse(`policy: "${vector.name}" has shape [${vector.shape}], ACT expects a vector`);
    }
  }
  return { state, environment, cameras, action };
}

function refuse(message: string): CraftError {
  return new CraftError('POLICY_FEATURES', message);
}
