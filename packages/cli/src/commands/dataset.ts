import { subcommands } from '../command.js';
import { doctor } from './dataset/doctor.js';
import { convert, deleteEpisodes, merge, split } from './dataset/edit.js';
import { info, show, stats } from './dataset/look.js';

/** `craft dataset`: checks, shows, converts and edits LeRobot datasets. Nothing changes a source but `doctor --fix` and `stats --recompute`. */
export const datasetCommand = subcommands(
  'dataset',
  { doctor, info, stats, show, convert, merge, split, 'delete-episodes': deleteEpisodes },
  'FOLDER ',
);
