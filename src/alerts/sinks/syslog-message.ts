import type { Milliseconds } from '../../base/index.ts';

/** The parts of a message of RFC 5424, section 6. */
export interface SyslogMessage {
  /** 0 to 23. */
  readonly facility: number;
  /** 0 (emergency) to 7 (debug). */
  readonly severity: number;
  readonly time: Milliseconds;
  readonly hostname: string;
  readonly appName: string;
  readonly processId: string;
  readonly messageId: string;
  /** UTF-8, without line ends. */
  readonly text: string;
}

const VERSION = 1;
/** Announces UTF-8 (section 6.4). */
const BOM = '\ufeff';

/** One message as bytes; without structured data. */
export function encodeSyslog(message: SyslogMessage): Buffer {
  const { facility, severity, time } = message;
  const head = [
    `<${facility * 8 + severity}>${VERSION}`,
    new Date(time).toISOString(),
    field(message.hostname, 255),
    field(message.appName, 48),
    field(message.processId, 128),
    field(message.messageId, 32),
    '-',
  ];
  // CEF is looked for at the start of the text: plain ASCII needs no mark, and the mark is only for what is not.
  const mark = /^[\x20-\x7e]*$/.test(message.text) ? '' : BOM;
  return Buffer.from(`${head.join(' ')} ${mark}${message.text}`, 'utf8');
}

/** Octet counting of RFC 6587, section 3.4.1, which is also the framing of RFC 5425. */
export function frameSyslog(message: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`${message.length} `, 'ascii'), message]);
}

/** Printable ASCII without spaces; the nil value where nothing is left. */
function field(text: string, maxLength: number): string {
  return text.replaceAll(/[^\x21-\x7e]/g, '').slice(0, maxLength) || '-';
}
