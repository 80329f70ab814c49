import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { craftError } from '../../test/craft-error.js';
import { fileBytes, temporaryFolder } from '../../test/safetensors.js';
import { fromTypedArray } from '../creation.js';
import { DTYPES, type DType } from '../dtype.js';
import '../generated/methods.js';
import { memory } from '../runtime.js';
import type { Tensor } from '../tensor.js';
import { safetensorsDtype } from './dtypes.js';
import { loadFile, open, saveFile } from './tensors.js';

const folder = temporaryFolder();
const path = join(folder, 'tensors.safetensors');
const dtypes = Object.keys(DTYPES) as DType[];

/** Elements 0, 1, 0, 1…: exact in every dtype. */
function alternating(shape: number[], dtype: DType): Tensor {
  const count = shape.reduce((product, size) => product * size, 1);
  const bytes = Uint8Array.from({ length: count }, (_, index) => index % 2);
  const small = fromTypedArray(bytes, shape);
  const tensor = small.to({ dtype, copy: true });
  small.dispose();
  return tensor;
}

describe('saveFile and loadFile', () => {
  it.each(dtypes)('round-trip %s, scalars and empty tensors included', (dtype) => {
    const shapes = [[], [0], [3, 0, 2], [5], [2, 3, 4]];
    const tensors = new Map(shapes.map((shape, index) => [`t${index}`, alternating(shape, dtype)]));
    saveFile(path, tensors, { format: 'pt' });
    const loaded = loadFile(path);
    expect(loaded.size).toBe(shapes.length);
    for (const [name, tensor] of tensors) {
      const back = loaded.get(name)!;
      expect([back.dtype, back.shape]).toEqual([dtype, tensor.shape]);
      expect(back.tolist()).toEqual(tensor.tolist());
    }
    using file = open(path);
    expect(file.info('t4').dtype).toBe(safetensorsDtype(dtype));
    expect(file.metadata.get('format')).toBe('pt');
  });

  it('stores a view row by row, and a tensor that requires gradients', () => {
    const tensor = alternating([2, 3], 'float32');
    saveFile(path, [
      ['transposed', tensor.transpose(0, 1)],
      ['parameter', alternating([2], 'float32').requiresGrad_()],
    ]);
    using file = open(path);
    expect(file.get('transposed').tolist()).toEqual([
      [0, 1],
      [1, 0],
      [0, 1],
    ]);
    expect(file.get('parameter').requiresGrad).toBe(false);
  });

  it('keeps the bits of NaN, infinities and negative zero', () => {
    const values = new Float32Array([Number.NaN, Number.POSITIVE_INFINITY, -0]);
    saveFile(path, [['x', fromTypedArray(values, [3])]]);
    expect([...(loadFile(path).get('x')!.toTypedArray() as Float32Array)]).toEqual([...values]);
  });

  it('leaves the tensor usable after the file is closed and overwritten', () => {
    saveFile(path, [['x', alternating([4], 'int64')]]);
    const file = open(path);
    const tensor = file.get('x');
    file.close();
    writeFileSync(path, 'gone');
    expect(tensor.tolist()).toEqual([0, 1, 0, 1]);
  });
});

describe('what no tensor can hold', () => {
  it('is refused by name, and frees what was loaded before it', () => {
    const header =
      '{"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"b":{"dtype":"F8_E4M3","shape":[1],"data_offsets":[1,2]}}';
    writeFileSync(path, fileBytes(header, new Uint8Array(2)));
    const before = memory().tensors;
    const error = craftError(() => loadFile(path));
    expect(error.code).toBe('DTYPE_UNSUPPORTED');
    expect(error.message).toContain('"b" is stored as F8_E4M3');
    expect(memory().tensors).toBe(before);
  });

  it('includes bools other than 0 and 1', () => {
    const header = '{"flag":{"dtype":"BOOL","shape":[2],"data_offsets":[0,2]}}';
    writeFileSync(path, fileBytes(header, new Uint8Array([1, 2])));
    expect(craftError(() => loadFile(path)).code).toBe('SAFETENSORS_INVALID');
  });
});
