import { CraftError } from '@craft-ft/torch/errors';

/** The command line itself is wrong; the process exits with code 2. */
export class UsageError extends CraftError {
  constructor(message: string) {
    super('USAGE', message);
    this.name = 'UsageError';
  }
}
