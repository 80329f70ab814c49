// Entry of the worker threads that decode frames.
import { workerData } from 'node:worker_threads';
import { serveCalls } from '../worker-pool.js';
import { type DecoderSettings, FrameDecoder } from './frame-decoder.js';

serveCalls(new FrameDecoder(workerData as DecoderSettings), 'LOADER_FAILED');
