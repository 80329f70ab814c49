import type { DatasetStats } from '@craft-ft/datasets';
import type { ProcessorPipeline } from '@craft-ft/policies';
import type { PolicyFeatures } from '@craft-ft/policies/config';

/** A policy rarely makes sense of inputs further than this from what it was trained on, in standard deviations. */
const FAR = 10;

/**
 * Compares a dataset with the statistics a policy normalises by. A joint that hardly moved in the old data has a tiny standard
 * deviation; where it moves in the new data, normalised values explode. One line per feature that does.
 */
export function normalizationDrift(
  preprocessor: ProcessorPipeline,
  features: PolicyFeatures,
  data: DatasetStats,
): string[] {
  const saved = preprocessor.steps.map((step) => step.state()).find((state) => state !== null);
  if (saved === undefined || saved === null) return [];
  const lines: string[] = [];
  for (const key of Object.keys(features)) {
    const [mean, std, fresh] = [saved.get(`${key}.mean`), saved.get(`${key}.std`), data[key]];
    if (mean === undefined || std === undefined || fresh === undefined || !normalises(preprocessor, key))
      continue;
    const [means, deviations] = [mean.toTypedArray(), std.toTypedArray()].map((array) =>
      Array.from(array, Number),
    );
    const distances = fresh.mean.map((value, i) => Math.abs(value - means[i]) / (deviations[i] + 1e-8));
    const worst = distances.indexOf(Math.max(...distances));
    if (distances[worst] < FAR) continue;
    lines.push(
      `"${key}"[${worst}] of the new data lies ${distances[worst].toPrecision(3)} standard deviations from the mean the ` +
        'checkpoint normalises by; --normalization_stats=dataset takes the new statistics (the old skill then suffers)',
    );
  }
  return lines;
}

function normalises(preprocessor: ProcessorPipeline, key: string): boolean {
  return preprocessor.steps.some((step) => {
    const { features, norm_map: modes } = step.config() as {
      features?: PolicyFeatures;
      norm_map?: Record<string, string>;
    };
    const type = features?.[key]?.type;
    return type !== undefined && modes?.[type] === 'MEAN_STD';
  });
}
