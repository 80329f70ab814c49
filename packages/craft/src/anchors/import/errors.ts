import { CraftError } from '@craft-ft/torch/errors';

/** `TORCH_FILE_INVALID`: the file around a pickle is not as torch.save writes it. */
export function torchFileInvalid(path: string, what: string): CraftError {
  return new CraftError(
    'TORCH_FILE_INVALID',
    `${path}: ${what}; the file is damaged or was not written by torch.save`,
  );
}

/** `PICKLE_INVALID`: the pickle is cut off or makes no sense. */
export function pickleInvalid(source: string, what: string): CraftError {
  return new CraftError('PICKLE_INVALID', `${source}: ${what}; the file is damaged`);
}

/** `PICKLE_REFUSED`: the pickle asks for something that a file of tensors never needs. */
export function pickleRefused(source: string, what: string): CraftError {
  const remedy =
    'a cache holds tensors, numbers and texts only; do not load this file anywhere unless you trust its author';
  return new CraftError('PICKLE_REFUSED', `${source}: the pickle has ${what}, which is refused: ${remedy}`);
}
