import { canonicalJson, sha256 } from '../crypto/index.ts';
import type { AuditLog } from './audit-log.ts';

/** Where the fingerprint of the last configuration is kept between two starts. */
export interface FingerprintStore {
  get(key: string): Promise<unknown>;
  set(key: string, value: unknown): Promise<void>;
}

const KEY = 'audit.configuration';

/**
 * Logs `config.change` where a guardian starts with another configuration than it had before: the names of the fields
 * that differ and a digest of the whole, never a value. The first start is nobody's change. Gives the names.
 */
export async function recordConfiguration(
  log: AuditLog,
  config: Readonly<Record<string, unknown>>,
  store: FingerprintStore,
): Promise<readonly string[]> {
  const now = Object.fromEntries(
    [...leaves(config)].map(([path, value]) => [path, sha256(canonicalJson(value))]),
  );
  const before = await store.get(KEY);
  const known =
    typeof before === 'object' && before !== null ? (before as Record<string, unknown>) : undefined;
  const names = new Set([...Object.keys(now), ...Object.keys(known ?? {})]);
  const fields = [...names].filter((name) => known !== undefined && known[name] !== now[name]).sort();
  if (known !== undefined && fields.length === 0) return [];
  if (fields.length > 0) {
    const detail = { fields, digest: sha256(canonicalJson(now)) };
    const subject = 'configuration';
    await log.append({ kind: 'event', action: 'config.change', principal: 'system', subject, detail });
  }
  // After the entry: a crash between the two tells it twice, never not at all.
  await store.set(KEY, now);
  return fields;
}

function* leaves(tree: Readonly<Record<string, unknown>>, prefix = ''): Generator<[string, unknown]> {
  for (const [key, value] of Object.entries(tree)) {
    const isTree = typeof value === 'object' && value !== null && !Array.isArray(value);
    if (isTree) yield* leaves(value as Record<string, unknown>, `${prefix}${key}.`);
    else yield [prefix + key, value ?? null];
  }
}
