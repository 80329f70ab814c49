import { existsSync, readFileSync } from 'node:fs';
import { arch, availableParallelism, cpus, freemem, release, totalmem, type } from 'node:os';
import { dirname, join } from 'node:path';
import type { optim } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import type { Output } from '../command.js';
import { packageVersion, UsageError } from '../command.js';

/** A line of `craft info`: name and value. */
type Fact = readonly [name: string, value: string];

/** Below this, matrix products do not run on an optimised BLAS, and training is many times slower than it could be. */
const SLOW_GFLOPS_PER_THREAD = 5;

/** `craft info`: the facts for a bug report. Fails, after printing the rest, if libtorch cannot be loaded. */
export async function infoCommand(argv: readonly string[], output: Output): Promise<number> {
  if (argv.length > 0) throw new UsageError(`craft info takes no arguments, found ${argv[0]}`);
  output.out(formatFacts(hostFacts()));
  const { facts, warnings } = await libtorchFacts();
  output.out(formatFacts(facts));
  for (const warning of warnings) output.err(`craft: warning: ${warning}\n`);
  return 0;
}

/** Versions and hardware, as far as Node.js knows them. */
function hostFacts(): Fact[] {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`;
  return [
    ['craft', packageVersion()],
    ['node', `${process.version} (${process.platform} ${arch()}, Node-API ${process.versions.napi})`],
    ['system', `${type()} ${release()}`],
    ['processor', `${cpus()[0]?.model.trim() ?? 'unknown'}, ${availableParallelism()} threads available`],
    ['memory', `${gib(totalmem())}, ${gib(freemem())} free`],
  ];
}

async function libtorchFacts(): Promise<{ facts: Fact[]; warnings: string[] }> {
  const torch = await import('@craft-ft/torch');
  const threads = torch.getNumThreads();
  const gflops = matrixProductSpeed(torch);
  const devices = Array.from({ length: torch.cudaDeviceCount() }, (_, i) => `cuda:${i}`);
  const facts: Fact[] = [
    ['libtorch', `${torch.libtorchVersion()}, ${libtorchSource(torch.addonPath)}`],
    ['addon', torch.addonPath],
    ['threads', String(threads)],
    ['matrix product', `${gflops.toFixed(0)} GFLOP/s (1024×1024 float32)`],
    ['devices', ['cpu', ...devices].join(', ')],
    [
      'fused attention',
      torch.hasOperator('scaled_dot_product_attention') ? 'yes' : 'composed (libtorch before 2.0)',
    ],
    ['kernels', describeKernels(torch.optim.kernels())],
  ];
  const slow = gflops < SLOW_GFLOPS_PER_THREAD * threads;
  const remedy = 'on Debian and Ubuntu install libopenblas0-pthread';
  return {
    facts,
    warnings: slow ? [`the matrix product is slow (${gflops.toFixed(1)} GFLOP/s): ${remedy}`] : [],
  };
}

function describeKernels({ path, level, library, reason }: optim.Kernels): string {
  return path === 'fused' ? `${level}, ${library}` : `composed of libtorch's operators (${reason})`;
}

// Set-up records next to the addon where libtorch came from.
function libtorchSource(addon: string): string {
  const file = join(dirname(addon), 'libtorch.json');
  if (!existsSync(file)) return 'of unknown origin (no libtorch.json beside the addon)';
  try {
    const { libDir, why } = JSON.parse(readFileSync(file, 'utf8')) as { libDir: string; why: string };
    return `${libDir} (${why})`;
  } catch (cause) {
    throw new CraftError(
      'CONFIG_UNREADABLE',
      `${file}: not readable as JSON; run npm run setup (in a clone) or npx craft-setup again`,
      {
        cause,
      },
    );
  }
}

/** GFLOP/s of a 1024×1024 float32 matrix product: the best of several runs, because other programs take time too. */
function matrixProductSpeed(torch: typeof import('@craft-ft/torch')): number {
  const n = 1024;
  return torch.scope(() => {
    const [a, b] = [torch.rand([n, n]), torch.rand([n, n])];
    let best = Number.POSITIVE_INFINITY;
    for (let i = 0; i < 6; i++) {
      const start = performance.now();
      a.matmul(b).dispose();
      best = Math.min(best, performance.now() - start);
    }
    return (2 * n ** 3) / (best * 1e6);
  });
}

/** Pads the names to one width, so that the values align. */
function formatFacts(facts: readonly Fact[]): string {
  return facts.map(([name, value]) => `${name.padEnd(NAME_WIDTH)}  ${value}\n`).join('');
}

const NAME_WIDTH = 'fused attention'.length;
