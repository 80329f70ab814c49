/**
 * @packageDocumentation
 * Configuration schemas only: importing this loads neither datasets nor policies, so that help and usage errors appear at once.
 */
export * from './config/not-yet.js';
export * from './config/output-folder.js';
export * from './config/resolve.js';
export * from './config/train.js';
export { baselineMethod, type TrainingMethod } from './method.js';
export { checkResume, RESUME_RULES, type ResumeRules } from './resume.js';
