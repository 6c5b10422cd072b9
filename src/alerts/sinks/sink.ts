import type { Detection } from '../detection.ts';
import { formatCef } from '../format-cef.ts';
import { formatEve } from '../format-eve.ts';
import { formatOcsf } from '../format-ocsf.ts';
import type { NoticeFormat } from './config.ts';

/**
 * Where notices go. `send` resolves when the receiver has the notice, as far as its protocol can tell. It throws
 * `alerts.notice-refused` for one that will never be taken, and anything else where a later try may help.
 */
export interface NoticeSink {
  readonly name: string;
  /** Notices sent at once. */
  readonly concurrency: number;
  send(detection: Detection, signal: AbortSignal): Promise<void>;
  /** Makes what was sent durable; called before it is forgotten here. */
  settle?(): Promise<void>;
  /** Reads secrets anew and opens files again; where it throws, what was there stays. */
  reload?(): Promise<void>;
  close(): Promise<void>;
}

/** One state of one finding has one key, however often its notice is sent. */
export function noticeKey({ uid, revision }: Pick<Detection, 'uid' | 'revision'>): string {
  return `${uid}.${revision}`;
}

/** One line, without its end. */
export function formatNotice(detection: Detection, format: NoticeFormat): string {
  switch (format) {
    case 'json':
      return JSON.stringify(detection);
    case 'ocsf':
      return formatOcsf(detection);
    case 'eve':
      return formatEve(detection);
    case 'cef':
      return formatCef(detection);
    default:
      return format satisfies never;
  }
}
