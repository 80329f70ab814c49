export type { Composed, ComposeOptions } from './compose.js';
export { decodeVideo, type ProbedVideo, probeVideo, type VideoProbe } from './doctor/check-videos.js';
export {
  type DoctorOptions,
  type Examination,
  examineDataset,
  type Fixed,
  fixDataset,
} from './doctor/doctor.js';
export { exitCode, type Finding, type FindingCode, findingCodes, type Severity } from './doctor/findings.js';
export {
  type ConvertOptions,
  convertDataset,
  deleteEpisodes,
  mergeDatasets,
  type SplitPart,
  splitDataset,
} from './edit.js';
export {
  type ContactSheetOptions,
  type Curve,
  type DatasetSummary,
  episodeCurves,
  sparkline,
  summarizeDataset,
  writeContactSheet,
} from './inspect.js';
export { recomputeStats } from './recompute-stats.js';
