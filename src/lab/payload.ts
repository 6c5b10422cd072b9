/** First bytes that common protocols put on the wire; the rest of a payload is left zero. */
const text = (value: string): Uint8Array => new TextEncoder().encode(value);

export const HTTP_GET = text('GET / HTTP/1.1\r\nHost: www.example.org\r\n');
export const HTTP_POST = text('POST /upload HTTP/1.1\r\nHost: www.example.org\r\n');
export const HTTP_OK = text('HTTP/1.1 200 OK\r\nServer: nginx\r\n');
export const HTTP_DENIED = text('HTTP/1.1 401 Unauthorized\r\n');
export const TLS_HELLO = Uint8Array.of(22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3);
export const TLS_ANSWER = Uint8Array.of(22, 3, 3, 0, 90, 2, 0, 0, 86, 3, 3);
export const TLS_DATA = Uint8Array.of(23, 3, 3, 4, 0);
export const SSH_BANNER = text('SSH-2.0-OpenSSH_9.6\r\n');
export const SMTP_BANNER = text('220 mail.example.org ESMTP\r\n');
export const SMTP_HELLO = text('EHLO client.example.org\r\n');
export const FTP_BANNER = text('220 FTP server ready\r\n');
export const FTP_USER = text('USER anonymous\r\n');
export const TELNET_OPTIONS = Uint8Array.of(255, 253, 24, 255, 253, 32);
export const RDP_CONNECT = Uint8Array.of(3, 0, 0, 19, 14, 224, 0, 0, 0, 0, 0, 1, 0, 8, 0, 3);
export const IMAP_BANNER = text('* OK IMAP4rev1 ready\r\n');
export const NTP_QUERY = Uint8Array.of(0x23, 0, 6, 0xec);
export const NTP_ANSWER = Uint8Array.of(0x24, 2, 6, 0xec);
export const RTP_PACKET = Uint8Array.of(0x80, 0, 0, 1, 0, 0, 0, 160);
export const STUN_REQUEST = Uint8Array.of(0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42);
export const QUIC_INITIAL = Uint8Array.of(0xc3, 0, 0, 0, 1, 8);
export const SIP_REGISTER = text('REGISTER sip:example.org SIP/2.0\r\n');
export const SSDP_SEARCH = text('M-SEARCH * HTTP/1.1\r\nHOST: 239.255.255.250:1900\r\n');
export const DHCP_REQUEST = Uint8Array.of(1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78);
export const SNMP_GET = Uint8Array.of(0x30, 0x29, 2, 1, 1, 4, 6, 0x70, 0x75, 0x62, 0x6c, 0x69, 0x63);
export const BITTORRENT = text('\x13BitTorrent protocol');
export const SMB_HELLO = Uint8Array.of(0, 0, 0, 0x54, 0xfe, 0x53, 0x4d, 0x42);

/** DNS record types. */
export const A = 1;
export const PTR = 12;
export const TXT = 16;
export const AAAA = 28;

export interface DnsQuestion {
  readonly id: number;
  readonly name: string;
  readonly type: number;
  /** -1 for a query, else the response code (0 no error, 3 no such name). */
  readonly answer: number;
}

/** Header and question of a DNS message (RFC 1035, 4.1); an answer's records are left to the zero padding. */
export function dnsMessage({ id, name, type, answer }: DnsQuestion): Uint8Array {
  const bytes = new Uint8Array(12 + name.length + 2 + 4);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id);
  view.setUint16(2, answer < 0 ? 0x0100 : 0x8180 + answer);
  view.setUint16(4, 1);
  let at = 12;
  for (const label of name.split('.')) {
    bytes[at++] = label.length;
    for (let i = 0; i < label.length; i++) bytes[at++] = label.charCodeAt(i);
  }
  at++;
  view.setUint16(at, type);
  view.setUint16(at + 2, 1);
  return bytes;
}
