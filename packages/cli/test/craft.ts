import { main } from '../src/main.js';

export interface Ran {
  code: number;
  out: string;
  err: string;
}

/** Runs a `craft` command in this process. `onOut` sees each line as it is printed. */
export async function craft(argv: readonly string[], onOut: (text: string) => void = () => {}): Promise<Ran> {
  const ran = { out: '', err: '' };
  const code = await main(argv, {
    out: (text) => {
      ran.out += text;
      onOut(text);
    },
    err: (text) => {
      ran.err += text;
    },
    columns: 100,
  });
  return { code, ...ran };
}
