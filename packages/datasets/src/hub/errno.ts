/** The `code` of a failed system or network call (`ENOENT`, `ECONNRESET`, …); undefined for any other error. */
export function errnoCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^[A-Z_]+$/.test(error.code) ? error.code : undefined;
}
