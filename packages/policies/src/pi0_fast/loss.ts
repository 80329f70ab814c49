import { nn, type Tensor } from '@craft-ft/torch';
import type { Encoded, Pi0FastModel, Tokens } from './model.js';

/** What `actionTokenLoss` found. */
export interface TokenLoss {
  /** Mean cross-entropy over the targets of the whole batch, nats; 0 where there are none. */
  loss: Tensor;
  /** Share of targets that are the most likely token, without a graph; 0 where there are none. */
  accuracy: Tensor;
  /** Number of targets. */
  count: number;
}

/**
 * Next-token loss: the state of action token i predicts token i + 1, where that one counts. The first action token is never a target.
 *
 * The head, and with it most of the memory, is spent on positions with a target only; the result is that of LeRobot's mask.
 */
export function actionTokenLoss(model: Pi0FastModel, encoded: Encoded, actions: Tokens): TokenLoss {
  const count = actions.ids.size(1) - 1;
  const hidden = encoded.states.at(-1)!.narrow(1, encoded.prefixLength, count);
  const counted = actions.mask.narrow(1, 1, count).reshape([-1]).nonzero().squeeze(1);
  const rows = hidden.reshape([-1, hidden.size(-1)]).indexSelect(0, counted);
  const targets = actions.ids.narrow(1, 1, count).reshape([-1]).indexSelect(0, counted);
  const logits = model.logits(model.normalise(rows));
  const number = Math.max(1, counted.numel);
  const loss = nn.functional.crossEntropy(logits, targets, { reduction: 'sum' }).div(number);
  const accuracy = logits.detach().argmax(-1).eq(targets).sum().to('float32').div(number);
  return { loss, accuracy, count: counted.numel };
}
