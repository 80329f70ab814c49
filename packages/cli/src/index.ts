export { type Output, UsageError } from './command.js';
export { main } from './main.js';
