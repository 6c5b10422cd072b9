import { DEFAULT_EXPIRY } from '../registry/index.ts';
import type { Handlers } from './handler.ts';

const DAY_MS = 86_400_000;

export const updateHandlers = {
  'POST /v1/updates/publish': async ({ guardian, body, caller }) => {
    const { root, targets, snapshot, timestamp } = body.expiryDays ?? {};
    const published = await guardian.updates.publish(
      {
        ...(body.models !== undefined && { models: body.models }),
        expiry: {
          rootMs: milliseconds(root, DEFAULT_EXPIRY.rootMs),
          targetsMs: milliseconds(targets, DEFAULT_EXPIRY.targetsMs),
          snapshotMs: milliseconds(snapshot, DEFAULT_EXPIRY.snapshotMs),
          timestampMs: milliseconds(timestamp, DEFAULT_EXPIRY.timestampMs),
        },
      },
      caller,
    );
    const { versions, models, metadata, targets: offered } = published;
    return { versions, models, metadata: metadata.map(inBase64), targets: offered.map(inBase64) };
  },
  'POST /v1/updates/pull': ({ guardian, body, caller }) => {
    const { url, root, models } = body;
    return guardian.updates.pull(
      { url, ...(root !== undefined && { root }), ...(models !== undefined && { models }) },
      caller,
    );
  },
} satisfies Partial<Handlers>;

function milliseconds(days: number | undefined, fallback: number): number {
  return days === undefined ? fallback : Math.round(days * DAY_MS);
}

/** Files keep their order: it is the one in which they must become durable. */
function inBase64([name, bytes]: readonly [string, Uint8Array]): { name: string; bytes: string } {
  return { name, bytes: Buffer.from(bytes).toString('base64') };
}
