/**
 * @packageDocumentation
 * Reads anchor caches of the original Python project without executing anything in them.
 */
export { type ImportAnchorOptions, importAnchorCache } from './import.js';
export { PickledTensor, TorchFile } from './torch-file.js';
