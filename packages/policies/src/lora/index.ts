export { LoraAdapter } from './adapter.js';
export { type AttachedLora, attachedLora, attachLora, detachLora, type LoraLayer } from './attach.js';
export { baseFolder, fetchBase, holdsAdapters } from './base-model.js';
export { type PeftConfig, peftConfigSchema } from './config.js';
export { loadAdapters, saveAdapters } from './files.js';
export { mergeLora } from './merge.js';
export { type LoraSettings, loraSettings } from './settings.js';
