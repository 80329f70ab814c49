import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch/errors';
import type { UpdateStrategy } from '@craft-ft/training';
import { REPORT_FILE, summarize, summaryLines, writeReport } from './report.js';
import { type CraftTrainConfig, ownFields } from './train-config.js';

/**
 * Writes the report page of a run into its folder and returns a summary: the method's own (or, without one, how the loss changed), the
 * time, and where the page is. If the page cannot be written, a line says so, because the run itself is done.
 *
 * @param said the method's own summary; also shown on the page
 * @returns an empty list if the run has not logged a line yet
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
    // A method with its own summary also says how the task loss changed.
    return [...(said.length > 0 ? said : loss), ...rest, `report: ${page}`];
  } catch (error) {
    if (!(error instanceof CraftError)) throw error;
    return [...said, `the report was not written: ${error.message}`];
  }
}
