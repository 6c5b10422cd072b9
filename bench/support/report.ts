import { mkdir, writeFile } from 'node:fs/promises';
import { arch, availableParallelism, cpus, platform, release, totalmem } from 'node:os';
import { join } from 'node:path';

/** What a bench found, in the shape that scripts rest on. */
export interface BenchResult {
  readonly bench: string;
  /** One row for each thing that was measured. */
  readonly rows: readonly Readonly<Record<string, string | number>>[];
  /** Peer divided by ours, above 1 where ours is better, by peer. */
  readonly ratios: Readonly<Record<string, number>>;
  readonly passed: boolean;
}

/** Prints the result as the last line, and writes it with machine and versions to `bench/results/NAME.json`. */
export async function reportBench(result: BenchResult): Promise<void> {
  const line = { type: 'bench.result', ...result };
  const machine = {
    cpu: cpus()[0]?.model ?? 'unknown',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    system: `${platform()} ${release()} ${arch()}`,
  };
  const folder = join(import.meta.dirname, '../results');
  await mkdir(folder, { recursive: true });
  const kept = {
    ...line,
    date: new Date().toISOString().slice(0, 10),
    machine,
    versions: { node: process.version },
  };
  await writeFile(join(folder, `${result.bench}.json`), `${JSON.stringify(kept, null, 2)}\n`);
  process.stdout.write(`${JSON.stringify(line)}\n`);
  process.exitCode = result.passed ? 0 : 1;
}
