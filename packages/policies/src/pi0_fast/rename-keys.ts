const PREFIX = 'model.paligemma_with_expert.paligemma.';
const TOWER = `${PREFIX}model.vision_tower.`;
const HEAD = `${PREFIX}lm_head.weight`;
const EMBEDDING = `${PREFIX}model.language_model.embed_tokens.weight`;

/**
 * The names that a tensor of a π0-FAST checkpoint stands for, as LeRobot loads them: names get the leading `model.` that older ones
 * lack, and the head also fills in for token embeddings that the file does not have. The level `vision_model`, which transformers
 * 5.17 dropped, is put back.
 *
 * @returns its own name, then those it fills in for
 */
export function renamePi0FastKey(name: string): string[] {
  const full = name.startsWith('model.') ? name : `model.${name}`;
  if (full === HEAD) return [HEAD, EMBEDDING];
  if (full.startsWith(TOWER) && !full.startsWith(`${TOWER}vision_model.`))
    return [`${TOWER}vision_model.${full.slice(TOWER.length)}`];
  return [full];
}
