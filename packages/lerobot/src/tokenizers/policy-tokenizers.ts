import type { PolicyConfig } from '../policies/registry.js';
import { fetchTokenizer } from './locate.js';

/**
 * Brings the tokenisers that a policy names to this machine; call it before the policy and its processors are made. Nothing happens for
 * policies without language, and for tokenisers that are here.
 *
 * @throws CraftError as {@link fetchTokenizer}
 */
export async function fetchPolicyTokenizers(
  policy: PolicyConfig,
  onWarning: (message: string) => void = console.warn,
): Promise<void> {
  if (policy.type !== 'pi0_fast') return;
  for (const name of [policy.text_tokenizer_name, policy.action_tokenizer_name]) {
    await fetchTokenizer(name, { onWarning });
  }
}
