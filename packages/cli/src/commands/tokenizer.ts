import { subcommands } from '../command.js';
import { tokenizerInfo } from './tokenizer/info.js';
import { tokenizerTrain } from './tokenizer/train.js';

/** `craft tokenizer`: trains FAST action tokenisers on datasets, and shows what is in one. */
export const tokenizerCommand = subcommands('tokenizer', { train: tokenizerTrain, info: tokenizerInfo });
