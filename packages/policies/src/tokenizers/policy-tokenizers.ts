import { loadActionTokens } from '../pi0_fast/action-tokens.js';
import type { PolicyConfig } from '../registry.js';
import { fetchTokenizer } from './locate.js';

/**
 * Brings the tokenisers that a policy names to this machine and tries them, so that mistakes show before gigabytes of weights are read;
 * call it before the policy and its processors are made. Nothing happens for policies without language.
 *
 * @throws CraftError as {@link fetchTokenizer}; `TOKENIZER_…` where they do not fit together, or the model
 */
export async function fetchPolicyTokenizers(
  policy: PolicyConfig,
  onWarning: (message: string) => void = console.warn,
): Promise<void> {
  if (policy.type !== 'pi0_fast') return;
  for (const name of [policy.text_tokenizer_name, policy.action_tokenizer_name]) {
    await fetchTokenizer(name, { onWarning });
  }
  loadActionTokens(policy);
}
