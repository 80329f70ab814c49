import { spawn } from 'node:child_process';

/** Opens an address in the browser where there is a desktop to do it on; elsewhere nothing happens. */
export function openBrowser(url: string): void {
  const { platform, env } = process;
  if (platform === 'linux' && env.DISPLAY === undefined && env.WAYLAND_DISPLAY === undefined) return;
  const [program, ...words] =
    platform === 'darwin' ? ['open'] : platform === 'win32' ? ['explorer'] : ['xdg-open'];
  const child = spawn(program!, [...words, url], { stdio: 'ignore', detached: true });
  // The program may not be there; the address is printed in any case.
  child.on('error', () => {});
  child.unref();
}
