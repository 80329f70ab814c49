import { CraftError } from '@craft-ft/torch/errors';
import type { Output } from '../command.js';
import { UsageError } from '../command.js';

const HELP = `Usage: craft report RUN [RUN ...] [--output=FILE]

Writes one HTML page about a training run, or about several compared: losses, λ, ε, conflicts, rates, times and configuration. RUN
is the output_dir of craft train, finished or not. The page needs no network and no other file.

  --output  FILE (default: RUN/report.html, or report.html in this folder for several runs)
      Where to write the page.
`;

/** `craft report RUN [RUN …] [--output=FILE]` */
export async function reportCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.out(HELP);
    return 0;
  }
  const { folders, file } = parse(argv);
  const { defaultOutput, summarize, summaryLines, writeReport } = await import('../report.js');
  const path = file ?? defaultOutput(folders);
  const runs = writeReport(folders, path);
  for (const run of runs) {
    const { loss, rest } = summaryLines(summarize(run));
    output.out([run.name, ...run.notes, ...loss, ...rest, ''].join('\n  ').trimEnd().concat('\n'));
  }
  output.out(`report: ${path}\n`);
  return 0;
}

function parse(argv: readonly string[]): { folders: string[]; file: string | null } {
  const folders: string[] = [];
  let file: string | null = null;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === '--output') file = argv[++i] ?? '';
    else if (word.startsWith('--output=')) file = word.slice('--output='.length);
    else if (word.startsWith('-')) throw new UsageError(`craft report takes only --output, found ${word}`);
    else folders.push(word);
  }
  if (folders.length === 0) throw new UsageError('craft report needs a run: craft report outputs/my_run');
  if (file === '') throw new UsageError('--output needs a file: --output=report.html');
  if (new Set(folders).size < folders.length) {
    throw new CraftError('REPORT_TWICE', `the same run is given twice: ${folders.join(' ')}`);
  }
  return { folders, file };
}
