export { type AffineParameters, affine } from './affine.js';
export { adjustBrightness, adjustContrast, adjustSaturation, grayscale } from './color.js';
export { adjustHue } from './hue.js';
export { ImageTransforms } from './image-transforms.js';
export { IMAGENET_MEAN, IMAGENET_STD, imagenetStats } from './imagenet-stats.js';
export { changeImage, type ImageChange } from './random-transforms.js';
export { type ImageSize, resize, resizeWithPad } from './resize.js';
export { adjustSharpness } from './sharpness.js';
export { type ImageLayout, toFloat } from './to-float.js';
