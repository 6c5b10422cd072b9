import { execFileSync } from 'node:child_process';
import { closeSync, mkdtempSync, openSync, rmSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { miss } from './requires.ts';

/** A file system of its own that can be filled to the last page. */
export interface SmallDisk {
  readonly folder: string;
  /** Leaves no page free. */
  fill(): void;
  free(): void;
}

/** In memory, unmounted after the test; to mount takes root. Undefined where the test is skipped, which it is not under CI=true. */
export function mountSmallDisk(t: TestContext, mebibytes: number): SmallDisk | undefined {
  const folder = mkdtempSync(join(tmpdir(), 'guardian-disk-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${mebibytes}m,mode=700`, 'tmpfs', folder], {
      stdio: 'ignore',
    });
  } catch {
    rmSync(folder, { recursive: true });
    miss(t, 'needs to mount a tmpfs, as root may');
    return undefined;
  }
  t.after(() => {
    execFileSync('umount', ['-l', folder]);
    rmSync(folder, { recursive: true });
  });
  const ballast = join(folder, 'ballast');
  return {
    folder,
    fill: () => {
      const file = openSync(ballast, 'a');
      for (const bytes of [1 << 16, 1 << 12]) {
        try {
          for (;;) writeSync(file, Buffer.alloc(bytes));
        } catch {
          // No room for so much any more.
        }
      }
      closeSync(file);
    },
    free: () => rmSync(ballast),
  };
}
