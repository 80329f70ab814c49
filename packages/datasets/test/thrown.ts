export { craftError as thrown } from '../../torch/test/craft-error.js';
