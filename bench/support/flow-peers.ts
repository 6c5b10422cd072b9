import { existsSync, globSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { requirePython } from '../../test/support/python-environment.ts';
import { toolPath } from '../../test/support/requires.ts';
import { type MeasuredProcess, measureProcess } from './measured-process.ts';

/** A program that reads a capture, run as one process. */
export interface FlowPeer {
  readonly name: string;
  readonly version: string;
  /** Rounds it takes part in, at most: one that is slow tells its ratio in fewer. */
  readonly rounds?: number;
  /** Meters `capture`; `flows` is NaN where the program does not say. */
  run(capture: string): Promise<MeasuredProcess & { readonly flows: number }>;
}

const NFSTREAM = `
import sys
from nfstream import NFStreamer
if __name__ == '__main__':
    stream = NFStreamer(source=sys.argv[1], statistical_analysis=True, n_dissections=0, n_meters=1, idle_timeout=30, active_timeout=300)
    print('flows', sum(1 for _ in stream))
`;

/** The peers that are installed here, with the versions they say they are. What is missing is told in `missing`. */
export async function flowPeers(missing: string[]): Promise<FlowPeer[]> {
  const peers: FlowPeer[] = [];
  const add = async (
    name: string,
    versionArgs: readonly string[],
    run: (path: string, capture: string, folder: string) => Promise<MeasuredProcess>,
    flowsOf: (output: string) => number,
  ) => {
    const path = toolPath(name);
    if (path === undefined) {
      missing.push(name);
      return;
    }
    const { output } = await measureProcess(path, versionArgs);
    const version = /\d+(\.\d+)+/.exec(output)?.[0] ?? 'unknown';
    peers.push({
      name,
      version,
      run: (capture) =>
        inFolder(async (folder) => {
          const measured = await run(path, capture, folder);
          return { ...measured, flows: flowsOf(measured.output) };
        }),
    });
  };
  const number = (pattern: RegExp) => (output: string) => Number(pattern.exec(output)?.[1] ?? Number.NaN);
  // Copies the packets: what reading and writing them costs alone.
  await add(
    'tcpdump',
    ['--version'],
    (path, capture, folder) => measureProcess(path, ['-r', capture, '-w', join(folder, 'copy.pcap')]),
    () => Number.NaN,
  );
  // Exports to nowhere: towards a port of this machine it waited for ever at its end. And without a control socket: when
  // it reads a file it never polls that, but may still wait for somebody there.
  await add(
    'softflowd',
    ['-h'],
    (path, capture, folder) => {
      const files = ['-p', join(folder, 'pid'), '-c', 'none'];
      return measureProcess(path, ['-r', capture, '-d', '-m', '400000', ...files]);
    },
    () => Number.NaN,
  );
  await add(
    'nfpcapd',
    ['-V'],
    (path, capture, folder) => measureProcess(path, ['-r', capture, '-w', folder, '-e', '300,30']),
    number(/Total flows: (\d+)/i),
  );
  // IPv4 alone: with the rest it ends in a corrupted heap.
  await add(
    'argus',
    ['-h'],
    (path, capture, folder) =>
      measureProcess(path, ['-X', '-r', capture, '-w', join(folder, 'argus.out'), '-', 'ip']),
    () => Number.NaN,
  );
  await addNfstream(peers, missing);
  return peers;
}

async function addNfstream(peers: FlowPeer[], missing: string[]): Promise<void> {
  const version = '6.6.0';
  const skip = { skip: (reason: string) => missing.push(`nfstream (${reason})`) } as unknown as TestContext;
  const python = await requirePython(skip, { name: 'nfstream', packages: [`nfstream==${version}`] });
  if (python === undefined) return;
  peers.push({
    name: 'nfstream',
    version,
    rounds: 1,
    run: async (capture) => {
      const measured = await measureProcess(python, ['-c', NFSTREAM, capture]);
      return { ...measured, flows: Number(/flows (\d+)/.exec(measured.output)?.[1] ?? Number.NaN) };
    },
  });
}

async function inFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-bench-'));
  try {
    return await work(folder);
  } finally {
    if (existsSync(folder)) rmSync(folder, { recursive: true, force: true });
  }
}

/** Every capture below `folder`, in a fixed order. */
export function capturesBelow(folder: string): string[] {
  return globSync(['*/*.pcap', '*/*.pcapng'], { cwd: folder })
    .sort()
    .map((name) => join(folder, name));
}
