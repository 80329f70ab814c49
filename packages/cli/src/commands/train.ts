import type { Output } from '../command.js';
import { trainHelp } from '../help.js';
import { loadTrainConfig } from '../load-config.js';
import { withLocalPolicy } from '../policy-path.js';
import { trainFlags } from '../train-config.js';

/** `craft train`: downloads the policy if it is on the Hub, validates the whole command line, then loads the modules for training. */
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
