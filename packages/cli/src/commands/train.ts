import { existsSync } from 'node:fs';
import { trainHelp } from '../help.js';
import { loadTrainConfig } from '../load-config.js';
import type { Output } from '../main.js';
import { trainFlags } from '../train-config.js';

/** `craft train`: checks the whole command line first, then loads what training needs. */
export async function trainCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.includes('--help') || argv.includes('-h')) {
    output.out(trainHelp(trainFlags(), output.columns));
    return 0;
  }
  const request = loadTrainConfig(await withLocalPolicy(argv, output));
  for (const line of request.ignored) output.err(`craft: ignored: ${line}\n`);
  const { runTrain } = await import('../run-train.js');
  return runTrain(request, output);
}

const PATH_FLAG = '--policy.path=';

/** `--policy.path=user/name` that is no local folder names a policy on the Hub: it is downloaded, and its folder takes its place. */
async function withLocalPolicy(argv: readonly string[], output: Output): Promise<string[]> {
  return Promise.all(
    argv.map(async (word) => {
      const path = word.startsWith(PATH_FLAG) ? word.slice(PATH_FLAG.length) : '';
      if (path === '' || existsSync(path) || !/^[\w.-]+\/[\w.-]+$/.test(path)) return word;
      const { downloadPolicy, looksLikeRepoId } = await import('@craft-ft/lerobot');
      if (!looksLikeRepoId(path)) return word;
      output.err(`craft: fetching ${path} from the Hugging Face Hub\n`);
      return `${PATH_FLAG}${await downloadPolicy(path, { onWarning: (line) => output.err(`craft: warning: ${line}\n`) })}`;
    }),
  );
}
