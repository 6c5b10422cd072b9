import type { Bytes } from '../base/index.ts';
import { StorageError } from './errors.ts';
import type { ZfsCommands } from './zfs-commands.ts';
import { checkPool } from './zfs-names.ts';

/** The last or present walk over everything in a pool. */
export interface ZfsScan {
  readonly kind: 'scrub' | 'resilver';
  readonly state: 'finished' | 'in-progress' | 'canceled';
  /** As `zpool status` writes it: `21.5M`; of a finished one. */
  readonly repaired?: string;
  /** Errors that could not be repaired; of a finished one. */
  readonly errors?: number;
  /** Local time of the machine, as `zpool status` writes it. */
  readonly at?: string;
}

export interface PoolHealth {
  readonly pool: string;
  /** ONLINE, DEGRADED, FAULTED, OFFLINE, REMOVED, UNAVAIL or SUSPENDED. */
  readonly state: string;
  /** Absent where the pool was never scrubbed. */
  readonly scan?: ZfsScan;
  /** Sums over the disks since they were cleared. */
  readonly readErrors: number;
  readonly writeErrors: number;
  readonly checksumErrors: number;
  /** Whether data is lost for good: some file has no sound copy. */
  readonly hasDataErrors: boolean;
  readonly sizeBytes: Bytes;
  readonly freeBytes: Bytes;
  /** `repaired`: disks gave wrong bytes and sound copies stood in for them; a disk may be about to die. */
  readonly verdict: 'good' | 'repaired' | 'degraded' | 'failing';
}

/** What a ZFS blob store tells of itself. */
export interface ZfsHealth extends PoolHealth {
  readonly dataset: string;
  /** Mounted, and its key loaded. */
  readonly isOpen: boolean;
}

/** Asks `zpool`. Throws `storage.zfs-*`. */
export async function readPoolHealth(zfs: ZfsCommands, pool: string): Promise<PoolHealth> {
  checkPool(pool);
  const listing = await zfs.rows('zpool', ['list', '-Hp', '-o', 'size,free', pool], 2);
  const status = parsePoolStatus(await zfs.run('zpool', ['status', '-p', pool]));
  const [size = '', free = ''] = listing[0] ?? [];
  return { pool, ...status, sizeBytes: Number(size), freeBytes: Number(free), verdict: verdictOf(status) };
}

type PoolStatus = Omit<PoolHealth, 'pool' | 'sizeBytes' | 'freeBytes' | 'verdict'>;

const SCRUB_DONE = /^(scrub) repaired (\S+) in .+ with (\d+) errors? on (.+)$/;
const RESILVER_DONE = /^(resilver)ed (\S+) in .+ with (\d+) errors? on (.+)$/;
const GOING_ON = /^(scrub|resilver) in progress since (.+)$/;
const CANCELED = /^(scrub|resilver) (?:canceled|cancelled) on (.+)$/;
/** Name, state, and counts of reads, writes and checksums; a note may follow. */
const DISK = /^\s+(\S+)\s+([A-Z]+)\s+(\d+)\s+(\d+)\s+(\d+)(?:\s|$)/;

/** Takes apart what `zpool status -p` writes of one pool. Throws `storage.zfs-output-unexpected`. */
export function parsePoolStatus(text: string): PoolStatus {
  const state = /^\s*state: ([A-Z]+)$/m.exec(text)?.[1];
  const errors = /^errors: (.+)$/m.exec(text)?.[1];
  if (state === undefined || errors === undefined) {
    throw new StorageError('storage.zfs-output-unexpected', 'expected a state and errors of zpool status');
  }
  const scan = parseScan(/^\s*scan: (.+)$/m.exec(text)?.[1] ?? '');
  const sums = countErrors(text);
  return { state, ...(scan && { scan }), ...sums, hasDataErrors: errors !== 'No known data errors' };
}

function parseScan(text: string): ZfsScan | undefined {
  const done = SCRUB_DONE.exec(text) ?? RESILVER_DONE.exec(text);
  if (done !== null) {
    const [, kind, repaired = '', errors, at = ''] = done;
    return { kind: kindOf(kind), state: 'finished', repaired, errors: Number(errors), at };
  }
  const [, kind, at] = GOING_ON.exec(text) ?? [];
  if (at !== undefined) return { kind: kindOf(kind), state: 'in-progress', at };
  const [, canceled, when] = CANCELED.exec(text) ?? [];
  return when === undefined ? undefined : { kind: kindOf(canceled), state: 'canceled', at: when };
}

function kindOf(text: string | undefined): ZfsScan['kind'] {
  return text === 'resilver' ? 'resilver' : 'scrub';
}

/** Sums over the leaves of the tree that `config:` draws: lines that none deeper follows. */
function countErrors(text: string): Pick<PoolStatus, 'readErrors' | 'writeErrors' | 'checksumErrors'> {
  const tree = text.split('\n').flatMap((line) => {
    const match = DISK.exec(line);
    return match === null ? [] : [{ depth: line.search(/\S/), counts: match.slice(3, 6).map(Number) }];
  });
  const leaves = tree.filter(({ depth }, i) => (tree[i + 1]?.depth ?? 0) <= depth);
  const sum = (column: number) => leaves.reduce((total, { counts }) => total + (counts[column] ?? 0), 0);
  return { readErrors: sum(0), writeErrors: sum(1), checksumErrors: sum(2) };
}

function verdictOf(status: PoolStatus): PoolHealth['verdict'] {
  if (status.hasDataErrors || !['ONLINE', 'DEGRADED'].includes(status.state)) return 'failing';
  if (status.state === 'DEGRADED') return 'degraded';
  const wrong = status.readErrors + status.writeErrors + status.checksumErrors;
  const repaired = status.scan?.repaired ?? '0';
  return wrong > 0 || !/^0B?$/.test(repaired) ? 'repaired' : 'good';
}
