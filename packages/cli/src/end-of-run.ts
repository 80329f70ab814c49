import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import type { UpdateStrategy } from '@craft-ft/training';
import { REPORT_FILE, summarize, summaryLines, writeReport } from './report.js';
import { type CraftTrainConfig, ownFields } from './train-config.js';

/**
 * Writes the page of a run into its folder and returns what there is to say of the run: what the method says (or how the loss
 * moved, where it says nothing), the time, where the page is. A page that cannot be written is a line too, since the run itself is done.
 *
 * @param said the method's own summary; it goes onto the page as well
 * @returns nothing where the run has not logged a line yet
 */
export function endOfRun(
  config: CraftTrainConfig,
  strategy: UpdateStrategy,
  said: readonly string[],
): string[] {
  const folder = config.output_dir;
  if (!existsSync(join(folder, 'metrics.jsonl'))) return [];
  const page = join(folder, REPORT_FILE);
  try {
    const [run] = writeReport([folder], page, {
      config: ownFields(config),
      stateFiles: strategy.stateFiles(),
      lines: said,
    });
    const { loss, rest } = summaryLines(summarize(run!));
    // A method that sums itself up says how the task loss moved, too.
    return [...(said.length > 0 ? said : loss), ...rest, `report: ${page}`];
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    return [...said, `the report was not written: ${error.message}`];
  }
}
