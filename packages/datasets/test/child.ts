import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const config = fileURLToPath(new URL('../../../vitest.config.ts', import.meta.url));
const vite = import.meta.resolve('vite');

/** Runs `main(...args)` of a TypeScript file of this folder in a process of its own; its output is piped. */
export function runChild(file: string, ...args: string[]): ChildProcess {
  const path = fileURLToPath(new URL(file, import.meta.url));
  const script = `
    const { createServer } = await import(${JSON.stringify(vite)});
    const server = await createServer({
      configFile: ${JSON.stringify(config)}, server: { middlewareMode: true, hmr: false, ws: false, watch: null },
      appType: 'custom', oxc: { target: 'node20' }, optimizeDeps: { noDiscovery: true }, logLevel: 'error',
    });
    const { main } = await server.ssrLoadModule(${JSON.stringify(path)});
    await main(...${JSON.stringify(args)});
    await server.close();`;
  return spawn(process.execPath, ['--input-type=module', '-e', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
