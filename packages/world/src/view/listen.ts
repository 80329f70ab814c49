import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { CraftError } from '@craft-ft/torch/errors';

const REASONS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'is in use',
  EACCES: 'is not allowed to this user',
};

/** Listens on this machine's own address, and resolves to the port. @throws CraftError `VIEW_PORT` */
export function listen(server: Server, port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) => {
      const reason = REASONS[error.code ?? ''] ?? `cannot be had: ${error.message}`;
      const message = `port ${port} ${reason}; choose another, or leave --port out for a free one`;
      reject(new CraftError('VIEW_PORT', message, { cause: error }));
    });
    server.listen(port, '127.0.0.1', () => resolve((server.address() as AddressInfo).port));
  });
}

/** Ends it at once, open connections too. */
export function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
