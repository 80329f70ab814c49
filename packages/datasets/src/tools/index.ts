export type { Composed, ComposeOptions } from './compose.js';
export { type ContactSheetOptions, writeContactSheet } from './contact-sheet.js';
export { type Curve, type DatasetSummary, episodeCurves, summarizeDataset } from './describe.js';
export { type DoctorOptions, type Examination, examineDataset } from './doctor/doctor.js';
export { exitCode, type Finding, type FindingCode, findingCodes, type Severity } from './doctor/finding.js';
export { type Fixed, fixDataset } from './doctor/fix.js';
export {
  type ConvertOptions,
  convertDataset,
  deleteEpisodes,
  mergeDatasets,
  type SplitPart,
  splitDataset,
} from './edit.js';
export { decodeVideo, type ProbedVideo, probeVideo, type VideoProbe } from './probe-video.js';
export { recomputeStats } from './recompute-stats.js';
export { sparkline } from './sparkline.js';
