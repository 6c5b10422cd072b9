import { createReadStream } from 'node:fs';
import { open } from 'node:fs/promises';
import { basename } from 'node:path';
import { isSealedFile, readSealedFile, type SealedContent } from './sealed-file.ts';
import type { SecretBuffer } from './secret-buffer.ts';
import type { WrapSet } from './wrap-set.ts';

/** Opens the key of a sealed data file by its wraps; `subject` is the file's name, for the log. */
export type DataKeyOpener = (wraps: WrapSet, subject: string) => Promise<SecretBuffer>;

/** A file of training data, sealed or not: bytes are decrypted in memory, as often as they are read. */
export class DataFile {
  readonly path: string;
  readonly #key: SecretBuffer | undefined;
  readonly #given: SealedContent[] = [];

  private constructor(path: string, key: SecretBuffer | undefined) {
    this.path = path;
    this.#key = key;
  }

  /** Asks for the key of a sealed file. What is no file is nobody's to open here. */
  static async open(path: string, openKey: DataKeyOpener): Promise<DataFile> {
    if (!(await beginsSealed(path))) return new DataFile(path, undefined);
    const stream = createReadStream(path);
    try {
      const { wraps } = (await readSealedFile(stream)).header;
      return new DataFile(path, await openKey(wraps, basename(path)));
    } finally {
      stream.destroy();
    }
  }

  /** What a sealed file holds; undefined for another one, whose own bytes are meant. Throws `crypto.integrity`. */
  async bytes(): Promise<AsyncIterable<Uint8Array> | undefined> {
    if (this.#key === undefined) return undefined;
    const content = (await readSealedFile(createReadStream(this.path))).open(this.#key);
    this.#given.push(content);
    return content;
  }

  /** The bytes, sealed or not. */
  async content(): Promise<AsyncIterable<Uint8Array>> {
    return (await this.bytes()) ?? createReadStream(this.path);
  }

  async text(): Promise<string> {
    const chunks: Uint8Array[] = [];
    for await (const chunk of await this.content()) chunks.push(chunk);
    const whole = Buffer.concat(chunks);
    const text = whole.toString('utf8');
    whole.fill(0);
    return text;
  }

  /** Wipes the key and every byte that was decrypted: nobody reads any more. */
  close(): void {
    this.#key?.wipe();
    for (const content of this.#given) content.wipe();
  }
}

async function beginsSealed(path: string): Promise<boolean> {
  const file = await open(path, 'r').catch(() => undefined);
  if (file === undefined) return false;
  try {
    if (!(await file.stat()).isFile()) return false;
    const head = Buffer.alloc(4);
    await file.read(head, 0, 4, 0);
    return isSealedFile(head);
  } finally {
    await file.close();
  }
}
