import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { safetensors, type Tensor } from '@craft-ft/torch';
import { describe, expect, test } from 'vitest';
import { affine } from './affine.js';
import { adjustBrightness, adjustContrast, adjustHue, adjustSaturation, adjustSharpness } from './color.js';
import { type ImageSize, resize } from './image.js';

const folder = fileURLToPath(new URL('../../test/golden/torchvision', import.meta.url));
const tensors = safetensors.loadFile(`${folder}/transforms.safetensors`);
const cases: Record<string, Case> = JSON.parse(readFileSync(`${folder}/cases.json`, 'utf8'));

interface Case {
  image: string;
  brightness_factor: number;
  contrast_factor: number;
  saturation_factor: number;
  hue_factor: number;
  sharpness_factor: number;
  angle: number;
  translate: [number, number];
  scale: number;
  shear: [number, number];
  size: ImageSize;
  antialias: boolean;
}

/** Each operation, and the largest difference of single values; the hue divides by small ranges. */
const OPS: Record<string, [(image: Tensor, args: Case) => Tensor, number]> = {
  brightness: [(x, args) => adjustBrightness(x, args.brightness_factor), 1e-7],
  contrast: [(x, args) => adjustContrast(x, args.contrast_factor), 5e-7],
  saturation: [(x, args) => adjustSaturation(x, args.saturation_factor), 5e-7],
  hue: [(x, args) => adjustHue(x, args.hue_factor), 3e-6],
  sharpness: [(x, args) => adjustSharpness(x, args.sharpness_factor), 5e-7],
  affine: [(x, args) => affine(x, args), 0],
  resize: [(x, args) => resize(x, args.size, { antialias: args.antialias }), 1e-6],
};

describe('equal to torchvision', () => {
  test.each(Object.keys(cases))('%s', (name) => {
    const [op, tolerance] = OPS[name.split('.')[0]!]!;
    const expected = tensors.get(name)!;
    const found = op(tensors.get(cases[name]!.image)!, cases[name]!);
    expect(found.shape).toEqual(expected.shape);
    expect(found.sub(expected).abs().max().item()).toBeLessThanOrEqual(tolerance);
  });
});
