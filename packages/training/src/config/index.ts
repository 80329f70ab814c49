export * from './dataset.js';
export * from './not-yet.js';
export * from './output-folder.js';
export * from './resolve.js';
export * from './train.js';
