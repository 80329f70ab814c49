/**
 * @packageDocumentation
 * Reads what the original Python project wrote, executing nothing that is in it.
 */
export { type ImportAnchorOptions, importAnchorCache } from './import.js';
export { PickledTensor, TorchFile } from './torch-file.js';
