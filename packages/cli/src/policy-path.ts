import { existsSync } from 'node:fs';
import type { Output } from './main.js';

const FLAG = '--policy.path';

/**
 * Replaces the name of a policy on the Hub by the folder it is downloaded to: `--policy.path=user/name`, or in two words, where no
 * such folder is here.
 */
export async function withLocalPolicy(argv: readonly string[], output: Output): Promise<string[]> {
  const words = [...argv];
  for (let i = 0; i < words.length; i++) {
    const inOne = words[i]!.startsWith(`${FLAG}=`);
    if (!inOne && words[i - 1] !== FLAG) continue;
    const path = inOne ? words[i]!.slice(FLAG.length + 1) : words[i]!;
    if (existsSync(path) || !/^[\w.-]+\/[\w.-]+$/.test(path)) continue;
    const { downloadPolicy, looksLikeRepoId } = await import('@craft-ft/lerobot');
    if (!looksLikeRepoId(path)) continue;
    output.err(`craft: fetching ${path} from the Hugging Face Hub\n`);
    const folder = await downloadPolicy(path, {
      onWarning: (line) => output.err(`craft: warning: ${line}\n`),
    });
    words[i] = inOne ? `${FLAG}=${folder}` : folder;
  }
  return words;
}
