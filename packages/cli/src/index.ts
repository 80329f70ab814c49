export * from './command.js';
export * from './commands/info.js';
export * from './flags.js';
export * from './help.js';
export * from './load-config.js';
export * from './main.js';
export * from './train-config.js';
