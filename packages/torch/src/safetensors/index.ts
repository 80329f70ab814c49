export { itemSize, type SafetensorsDtype, type StorableDtype, torchDtype } from './dtypes.js';
export { type RawTensor, SafetensorsFile, type TensorInfo, type TensorSource } from './file.js';
export { openCheckpoint } from './sharded.js';
export { loadFile, open, saveFile, type TensorFile } from './tensors.js';
export type { SafetensorsMetadata } from './write.js';
