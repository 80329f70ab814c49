import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Readable, Writable } from 'node:stream';

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];

/** The path of a Chromium on this machine, or null. */
export const chromium: string | null =
  (process.env.PATH ?? '')
    .split(delimiter)
    .flatMap((folder) => NAMES.map((name) => join(folder, name)))
    .find((path) => existsSync(path)) ?? null;

if (chromium === null) console.warn('there is no chromium on the PATH: tests in a browser are skipped');

const FLAGS = [
  '--headless',
  '--no-sandbox',
  '--disable-gpu',
  '--disable-quic',
  '--no-first-run',
  '--disable-background-networking',
  '--disable-component-update',
  '--disable-sync',
  '--enable-unsafe-swiftshader',
  '--use-gl=angle',
  '--use-angle=swiftshader',
  '--remote-debugging-pipe',
];

interface Reply {
  id?: number;
  result?: Record<string, unknown>;
  error?: { message: string };
  method?: string;
  params?: Record<string, unknown>;
}

/** A page in a headless Chromium, driven over the DevTools protocol. */
export class Tab {
  /** What the page wrote to its console as warnings and errors, and exceptions that nothing caught. */
  readonly complaints: string[] = [];
  readonly #process: ChildProcess;
  readonly #profile: string;
  readonly #waiting = new Map<number, (reply: Reply) => void>();
  #session: string | undefined;
  #next = 1;

  private constructor(width: number, height: number) {
    this.#profile = mkdtempSync(join(tmpdir(), 'craft-chromium-'));
    const flags = [...FLAGS, `--user-data-dir=${this.#profile}`, `--window-size=${width},${height}`];
    this.#process = spawn(chromium!, [...flags, 'about:blank'], {
      stdio: ['ignore', 'ignore', 'ignore', 'pipe', 'pipe'],
    });
    let text = '';
    (this.#process.stdio[4] as Readable).setEncoding('utf8').on('data', (chunk: string) => {
      const messages = (text + chunk).split('\0');
      text = messages.pop()!;
      for (const message of messages) this.#receive(JSON.parse(message) as Reply);
    });
  }

  static async open(url: string, width: number, height: number): Promise<Tab> {
    const tab = new Tab(width, height);
    const { targetId } = await tab.send('Target.createTarget', { url: 'about:blank' });
    const { sessionId } = await tab.send('Target.attachToTarget', { targetId, flatten: true });
    tab.#session = sessionId as string;
    for (const domain of ['Runtime', 'Log', 'Page']) await tab.send(`${domain}.enable`);
    await tab.send('Page.navigate', { url });
    return tab;
  }

  async send(method: string, params: Record<string, unknown> = {}): Promise<Record<string, unknown>> {
    const id = this.#next++;
    const session = this.#session === undefined ? {} : { sessionId: this.#session };
    const reply = new Promise<Reply>((resolve) => this.#waiting.set(id, resolve));
    (this.#process.stdio[3] as Writable).write(`${JSON.stringify({ id, method, params, ...session })}\0`);
    const { result, error } = await reply;
    if (error !== undefined) throw new Error(`${method}: ${error.message}`);
    return result ?? {};
  }

  /** The value of an expression in the page. */
  async evaluate(expression: string): Promise<unknown> {
    const { result } = await this.send('Runtime.evaluate', {
      expression,
      returnByValue: true,
      awaitPromise: true,
    });
    return (result as { value?: unknown }).value;
  }

  /** Waits for an expression to become true. */
  async until(expression: string, seconds = 30): Promise<void> {
    const end = performance.now() + 1000 * seconds;
    while ((await this.evaluate(expression)) !== true) {
      if (performance.now() > end)
        throw new Error(`${expression} did not become true; ${this.complaints.join('; ')}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }

  /** PNG of what is seen. */
  async screenshot(): Promise<Buffer> {
    const { data } = await this.send('Page.captureScreenshot', { format: 'png' });
    return Buffer.from(data as string, 'base64');
  }

  async close(): Promise<void> {
    const ended = new Promise((resolve) => this.#process.once('exit', resolve));
    // Its helper processes still write into the profile when it is killed.
    this.#session = undefined;
    this.send('Browser.close').catch(() => {});
    await ended;
    rmSync(this.#profile, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }

  #receive({ id, method, params, ...reply }: Reply): void {
    if (id !== undefined) {
      this.#waiting.get(id)?.(reply);
      this.#waiting.delete(id);
    } else if (method === 'Runtime.exceptionThrown') {
      this.complaints.push(JSON.stringify(params));
    } else if (method === 'Log.entryAdded') {
      // The driver's remarks about its own speed are no one's fault here.
      const { source, level, text } = params!.entry as Record<string, string>;
      if (source !== 'rendering' && level !== 'info') this.complaints.push(text!);
    } else if (method === 'Runtime.consoleAPICalled' && /warning|error/.test(String(params?.type))) {
      this.complaints.push(JSON.stringify(params?.args));
    }
  }
}
