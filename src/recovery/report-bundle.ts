import { promisify } from 'node:util';
import { gzip } from 'node:zlib';
import { GuardianError } from '../base/index.ts';
import { Redaction, type ShapeOfValues } from './redact.ts';

/** What a report is gathered from; one part that fails is told by its code and spoils no other. */
export interface ReportParts {
  readonly madeAt: string;
  readonly versions: Readonly<Record<string, string>>;
  readonly configuration: unknown;
  readonly configurationShape: ShapeOfValues;
  /** By name; asked one after the other. */
  readonly asked: Readonly<Record<string, () => Promise<unknown>>>;
}

/** Puts a report together as JSON: no key, no weight, no packet; hosts, people and places as marks. */
export async function reportBundle(parts: ReportParts): Promise<string> {
  const redaction = new Redaction();
  const told: Record<string, unknown> = {};
  for (const [name, ask] of Object.entries(parts.asked)) {
    told[name] = await ask().then(
      (value) => redaction.value(value),
      (error: unknown) => ({ failed: codeOf(error) }),
    );
  }
  const report = {
    v: 1,
    madeAt: parts.madeAt,
    versions: parts.versions,
    configuration: redaction.configuration(parts.configuration, parts.configurationShape),
    ...told,
  };
  return `${JSON.stringify(report, undefined, 2)}\n`;
}

/** The bytes of a file of that name: gzip where it ends with .gz. */
export async function bundleBytes(report: string, path: string): Promise<Uint8Array> {
  return path.endsWith('.gz') ? await promisify(gzip)(report) : Buffer.from(report);
}

function codeOf(error: unknown): string {
  if (error instanceof GuardianError) return error.code;
  const { code } = Object(error) as { readonly code?: unknown };
  return typeof code === 'string' && /^[\w.-]{1,64}$/.test(code) ? code : 'unknown';
}
