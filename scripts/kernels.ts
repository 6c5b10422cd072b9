import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What a kernel's memory is: its own, or shared by the threads that work on it. */
type Memory = 'private' | 'shared';

/** Each `kernels/NAME.ts` (AssemblyScript), which becomes the `kernels/NAME.wasm` beside it, and is committed so. */
export const KERNELS: Readonly<Record<string, Memory>> = {
  boost: 'shared',
  columns: 'private',
  dense: 'private',
  meter: 'private',
  predict: 'private',
  windows: 'private',
};

const FLAGS: Readonly<Record<Memory, readonly string[]>> = {
  private: ['--enable', 'simd', '--importMemory'],
  shared: ['--enable', 'simd,threads', '--importMemory', '--sharedMemory'],
};

const COMMON = [
  ...['--runtime', 'stub', '-O3', '--converge', '--noAssert', '--uncheckedBehavior', 'always'],
  // Bytes below 1,024 stay free: no address that a caller hands out is 0.
  ...['--initialMemory', '1', '--maximumMemory', '65536', '--memoryBase', '1024', '--use', 'abort='],
];

const FOLDER = new URL('../kernels/', import.meta.url);

/** Where the kernel `name` stands once built. */
export function kernelPath(name: string): string {
  return fileURLToPath(new URL(`${name}.wasm`, FOLDER));
}

/** Compiles the kernel `name`; the bytes depend on its source and the compiler's version alone. */
export async function buildKernel(name: string): Promise<Uint8Array> {
  const memory = KERNELS[name];
  if (memory === undefined)
    throw new Error(`no kernel ${name}; there are: ${Object.keys(KERNELS).join(', ')}`);
  const { main } = await import('assemblyscript/asc');
  let built: Uint8Array | undefined;
  const { error, stderr } = await main([`${name}.ts`, '-o', `${name}.wasm`, ...COMMON, ...FLAGS[memory]], {
    readFile: (file) => read(file),
    writeFile: (_file, contents) => {
      built = typeof contents === 'string' ? new TextEncoder().encode(contents) : contents;
    },
    listFiles: () => [],
  });
  if (error !== null || built === undefined) {
    throw new Error(`${name} does not compile\n${stderr.toString()}`, { cause: error });
  }
  return built;
}

function read(file: string): string | null {
  try {
    return readFileSync(new URL(file, FOLDER), 'utf8');
  } catch {
    return null;
  }
}

if (import.meta.main) {
  const asked = process.argv.slice(2);
  for (const name of asked.length > 0 ? asked : Object.keys(KERNELS)) {
    const bytes = await buildKernel(name);
    writeFileSync(kernelPath(name), bytes);
    process.stdout.write(`${name}: ${bytes.length} bytes\n`);
  }
}
