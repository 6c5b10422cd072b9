import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A certificate with its key, as text and as files. */
export interface Issued {
  readonly cert: string;
  readonly key: string;
  readonly certFile: string;
  readonly keyFile: string;
}

export interface IssueOptions {
  /** Common names in order; none leaves the subject without one. */
  readonly names?: readonly string[];
  readonly alternative?: string;
  readonly usage?: 'clientAuth' | 'serverAuth';
  /** Negative: over already. */
  readonly days?: number;
}

/** A folder of certificates made by openssl, P-256. */
export class CertificateShop {
  readonly folder = mkdtempSync(join(tmpdir(), 'guardian-certificates-'));
  #count = 0;

  /** An authority, its key in `<id>.key`. */
  authority(name: string): Issued & { readonly id: string } {
    const id = this.#next();
    this.#openssl([
      ...['req', '-x509', ...newKey(`${id}.key`), '-out', `${id}.pem`, '-days', '30'],
      ...['-subj', `/CN=${name}`, '-addext', 'basicConstraints=critical,CA:TRUE'],
      ...['-addext', 'keyUsage=critical,keyCertSign,cRLSign'],
    ]);
    return { id, ...this.#read(id) };
  }

  /** A certificate by an authority, or by itself where `by` is undefined. */
  issue(by: { readonly id: string } | undefined, options: IssueOptions): Issued {
    const { names = [], alternative, usage = 'clientAuth', days = 2 } = options;
    const id = this.#next();
    const subject = `/O=Test${names.map((name) => `/CN=${name}`).join('')}`;
    this.#openssl(['req', ...newKey(`${id}.key`), '-out', `${id}.csr`, '-subj', subject]);
    const extensions = [
      'basicConstraints=critical,CA:FALSE',
      `extendedKeyUsage=${usage}`,
      ...(alternative === undefined ? [] : [`subjectAltName=${alternative}`]),
    ];
    writeFileSync(join(this.folder, `${id}.ext`), `${extensions.join('\n')}\n`);
    const signer =
      by === undefined ? ['-signkey', `${id}.key`] : ['-CA', `${by.id}.pem`, '-CAkey', `${by.id}.key`];
    this.#openssl([
      ...['x509', '-req', '-in', `${id}.csr`, ...signer, '-out', `${id}.pem`],
      ...['-days', String(days), '-extfile', `${id}.ext`],
    ]);
    return this.#read(id);
  }

  close(): void {
    rmSync(this.folder, { recursive: true, force: true });
  }

  #next(): string {
    this.#count++;
    return `c${this.#count}`;
  }

  #read(id: string): Issued {
    const certFile = join(this.folder, `${id}.pem`);
    const keyFile = join(this.folder, `${id}.key`);
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  }

  #openssl(args: readonly string[]): void {
    execFileSync('openssl', args, { cwd: this.folder, stdio: ['ignore', 'ignore', 'pipe'] });
  }
}

/** openssl writes keys with mode 0600. */
function newKey(file: string): readonly string[] {
  return ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', file];
}
