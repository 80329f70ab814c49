import { empty } from '../creation.js';
import * as ops from '../generated/ops.js';
import type { Tensor } from '../tensor.js';
import { normal_ } from './init.js';
import { Module } from './module.js';
import { Parameter } from './parameter.js';

/** A table of vectors looked up by int64 indices: `[...]` → `[..., embeddingDim]`. Initialised N(0, 1). */
export class Embedding extends Module {
  /** `[numEmbeddings, embeddingDim]` */
  readonly weight: Parameter;

  constructor(numEmbeddings: number, embeddingDim: number) {
    super();
    this.weight = new Parameter(empty([numEmbeddings, embeddingDim]));
    normal_(this.weight);
  }

  override forward(indices: Tensor): Tensor {
    return ops.embedding(this.weight, indices);
  }
}
