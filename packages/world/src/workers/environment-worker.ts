// Entry of the worker threads that run environments.
import { serveCalls } from '@craft-ft/datasets/worker-pool';
import { EnvironmentHost } from './host.js';

serveCalls(new EnvironmentHost(), 'ENV_WORKER');
