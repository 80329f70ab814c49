export {
  isSafetensorsDtype,
  itemSize,
  type SafetensorsDtype,
  type StorableDtype,
  safetensorsDtype,
  safetensorsDtypes,
  torchDtype,
} from './dtypes.js';
export { SafetensorsFile } from './file.js';
export { parseHeader, parseHeaderLength, type SafetensorsHeader, type TensorEntry } from './header.js';
export { openCheckpoint, ShardedSafetensors } from './sharded.js';
export type { RawTensor, TensorInfo, TensorSource } from './source.js';
export { copyTensor, getTensor, loadFile, open, saveFile, TensorFile } from './tensors.js';
export { type SafetensorsEntry, type SafetensorsMetadata, writeSafetensors } from './write.js';
