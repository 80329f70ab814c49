import type { Finding } from '@craft-ft/datasets/tools';
import { z } from 'zod';
import { subcommandOf } from '../../command-of.js';
import { wrap } from '../../help.js';
import { jsonField, leadingRoot, sourceFields, sourceFolder, validateSource } from './fields.js';

/** Findings of one kind that are listed; a dataset downloaded in part has hundreds. */
const LISTED = 5;

export const doctor = subcommandOf({
  name: 'dataset doctor',
  about:
    'Checks a whole dataset before a long run: files, rows, indices, timestamps, tasks, videos, statistics. ' +
    'Exit code: 0 nothing wrong, 1 errors, 3 warnings only.',
  leading: leadingRoot,
  schema: z.strictObject({
    ...sourceFields,
    fix: z
      .boolean()
      .default(false)
      .describe(
        'Mend what can be mended without guessing (totals of info.json, statistics of numbers), keeping originals as .bak, ' +
          'and check again. Data and videos are never touched.',
      ),
    tolerance_s: z
      .number()
      .positive()
      .default(1e-4)
      .describe('Largest distance of a timestamp or video frame from its time, seconds.'),
    decode: z
      .boolean()
      .default(false)
      .describe(
        'Decode every video frame too: finds damage inside a frame, takes minutes instead of seconds.',
      ),
    ...jsonField,
  }),
  validate: validateSource,
  run: async (config, output) => {
    const { decodeVideo, examineDataset, exitCode, fixDataset, probeVideo } = await import(
      '@craft-ft/datasets/tools'
    );
    const root = await sourceFolder(config);
    const options = { toleranceS: config.tolerance_s, probe: config.decode ? decodeVideo : probeVideo };
    let examination = await examineDataset(root, options);
    if (config.fix) {
      const { done, failed } = await fixDataset(examination);
      for (const line of done) output.err(`fixed: ${line}\n`);
      for (const line of failed) output.err(`${line}\n`);
      if (done.length > 0) examination = await examineDataset(root, options);
    }
    const { findings } = examination;
    if (config.json) output.out(`${JSON.stringify({ root: examination.root, findings }, null, 2)}\n`);
    else output.out(`${[...report(findings, output.columns), summary(findings)].join('\n')}\n`);
    return exitCode(findings);
  },
});

function report(findings: readonly Finding[], columns: number): string[] {
  const byCode = new Map<string, Finding[]>();
  for (const finding of findings) byCode.set(finding.code, [...(byCode.get(finding.code) ?? []), finding]);
  return [...byCode.values()].flatMap((same) => {
    const lines = same.slice(0, LISTED).flatMap((finding) => wrap(`  ${describe(finding)}`, columns, 4));
    if (same.length > LISTED) lines.push(`  and ${same.length - LISTED} more; --json lists all`);
    const fixes = [...new Set(same.flatMap(({ fix }) => fix ?? []))];
    const shown = fixes.slice(0, 1).flatMap((fix) => wrap(`  → ${fix}`, columns, 4));
    return [`${same[0]!.severity} ${same[0]!.code}`, ...lines, ...shown, ''];
  });
}

function describe({ episode, camera, file, message }: Finding): string {
  const where = [episode === undefined ? '' : `episode ${episode}`, camera ?? ''].filter(
    (part) => part !== '',
  );
  return `${where.length > 0 ? `${where.join(', ')}: ` : ''}${file}: ${message}`;
}

function summary(findings: readonly Finding[]): string {
  const count = (severity: Finding['severity']): number =>
    findings.filter((finding) => finding.severity === severity).length;
  if (findings.length === 0) return 'nothing wrong';
  const number = (n: number, word: string): string => `${n} ${word}${n === 1 ? '' : 's'}`;
  return [
    number(count('error'), 'error'),
    number(count('warning'), 'warning'),
    number(count('info'), 'note'),
  ].join(', ');
}
