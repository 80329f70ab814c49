import type { EnvironmentHost } from './host.js';

/** Methods of a host that can be called from another thread. */
export type HostMethod = Exclude<keyof EnvironmentHost, 'close'>;
export type HostArguments<M extends HostMethod> = Parameters<EnvironmentHost[M]>;
export type HostResult<M extends HostMethod> = Awaited<ReturnType<EnvironmentHost[M]>>;

export interface HostRequest {
  id: number;
  method: HostMethod;
  args: unknown[];
}

export interface HostReply {
  id: number;
  value?: unknown;
  error?: { code: string; message: string };
}
