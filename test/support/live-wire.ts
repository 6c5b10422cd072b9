import { execFileSync, spawn } from 'node:child_process';
import type { TestContext } from 'node:test';
import { fileURLToPath } from 'node:url';
import { miss, requireTool, toolPath } from './requires.ts';

/** What is sent over a pair of virtual interfaces and how it is captured at the other end. */
export interface LiveRun {
  readonly capture: string;
  /** Packets a second; the capture's own pace where absent. */
  readonly rate?: number;
  /** Send the capture again and again for so long. */
  readonly seconds?: number;
  readonly record?: string;
  readonly filter?: string;
  readonly schema: string;
  /** Timeouts of the meter. */
  readonly meter: Readonly<Record<string, number | boolean>>;
}

export interface LiveResult {
  readonly sent: number;
  readonly packets: number;
  readonly flows: number;
  readonly lost: Readonly<Record<string, number>>;
  readonly malformed: Readonly<Record<string, number>>;
  readonly recordedPackets: number;
  /** SHA-256 of the feature vectors, in the order in which they came. */
  readonly vectors: string;
  /** From the first packet asked for to the last flow. */
  readonly seconds: number;
  /** CPU seconds of the process that captures, meters and makes features. */
  readonly cpuSeconds: number;
  /** CPU seconds of its tcpdump, as of about a second before its end. */
  readonly tcpdumpCpuSeconds: number;
}

const WIRE = fileURLToPath(new URL('live-wire-child.ts', import.meta.url));

/** Whether pairs of interfaces can be made here; marks the test as skipped where not. */
export function requireLiveWire(t: TestContext): boolean {
  for (const tool of ['tcpdump', 'tcpreplay', 'ip', 'unshare', 'mkfifo']) {
    if (!requireTool(t, tool)) return false;
  }
  try {
    execFileSync(toolPath('unshare') ?? 'unshare', ['-n', 'true'], { stdio: 'ignore' });
    return true;
  } catch {
    return miss(t, 'needs a network namespace of its own (root)');
  }
}

/** Sends and captures in a network namespace of their own, which is gone when this resolves. */
export async function runLive(run: LiveRun): Promise<LiveResult> {
  const child = spawn(toolPath('unshare') ?? 'unshare', ['-n', process.execPath, WIRE, JSON.stringify(run)], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => {
    text += part;
  });
  const code = await new Promise<number | null>((resolve) => child.once('close', resolve));
  if (code !== 0) throw new Error(`the live run ended with ${code}`);
  return JSON.parse(text.trimEnd().split('\n').at(-1) ?? '') as LiveResult;
}
