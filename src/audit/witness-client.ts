import type { AuditLog } from './audit-log.ts';
import { checkpointBody, type SignedCheckpoint } from './checkpoint.ts';
import { type Cosignature, validCosignatures } from './cosignature.ts';
import { AuditError } from './errors.ts';
import { type NoteKey, parseSignatureLines } from './note.ts';

/** Sends one text by POST. Injected, so that tests need no network. */
export type PostText = (url: string, body: string) => Promise<TextAnswer>;

export interface TextAnswer {
  readonly status: number;
  readonly contentType: string;
  readonly text: string;
}

const ANSWER_BYTES = 64 * 1024;
const TIMEOUT_MS = 5_000;

/** POST over fetch: no redirect is followed, no answer over 64 KiB is read, none is waited for longer than 5 s. */
export const postText: PostText = async (url, body) => {
  const response = await fetch(url, {
    method: 'POST',
    body,
    headers: { 'content-type': 'text/plain; charset=utf-8' },
    redirect: 'error',
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  let text = '';
  const decoder = new TextDecoder();
  for await (const chunk of response.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (text.length > ANSWER_BYTES) throw new AuditError('audit.witness-refused', 'the answer is too long');
  }
  return { status: response.status, contentType: response.headers.get('content-type') ?? '', text };
};

/** One witness and what it is known to have seen (C2SP tlog-witness, `add-checkpoint`). */
export class WitnessClient {
  readonly name: string;
  readonly #url: string;
  readonly #key: NoteKey;
  readonly #post: PostText;
  /** Size that the witness cosigned last; it tells where this is wrong. */
  #seen = 0;

  constructor(options: { readonly url: string; readonly key: NoteKey; readonly post: PostText }) {
    this.name = options.key.name;
    this.#url = `${options.url.replace(/\/$/, '')}/add-checkpoint`;
    this.#key = options.key;
    this.#post = options.post;
  }

  /**
   * Asks for the cosignature of a checkpoint. Throws `audit.witness-refused`, and `audit.rolled-back` where the witness
   * has cosigned a longer log, or another one of this size.
   */
  async cosign(log: AuditLog, checkpoint: SignedCheckpoint): Promise<Cosignature> {
    let answer = await this.#ask(log, checkpoint);
    if (answer.status === 409 && answer.contentType.startsWith('text/x.tlog.size')) {
      const size = /^(0|[1-9][0-9]{0,15})\n$/.exec(answer.text)?.[1];
      if (size === undefined) throw this.#refused('409 without a size');
      if (Number(size) > checkpoint.size) {
        const message = `the witness ${this.name} cosigned ${size} entries, the log has ${checkpoint.size}`;
        throw new AuditError('audit.rolled-back', message);
      }
      this.#seen = Number(size);
      answer = await this.#ask(log, checkpoint);
    }
    if (answer.status === 409 && this.#seen === checkpoint.size) {
      const message = `the witness ${this.name} cosigned another log of ${checkpoint.size} entries`;
      throw new AuditError('audit.rolled-back', message);
    }
    if (answer.status !== 200) throw this.#refused(`status ${answer.status}`);
    const lines = parseSignatureLines(answer.text) ?? [];
    const [cosignature] = validCosignatures(checkpointBody(checkpoint), lines, [this.#key]);
    if (cosignature === undefined) throw this.#refused('no valid cosignature of its key');
    this.#seen = checkpoint.size;
    return cosignature;
  }

  async #ask(log: AuditLog, checkpoint: SignedCheckpoint): Promise<TextAnswer> {
    const old = Math.min(this.#seen, checkpoint.size);
    const { hashes } = await log.consistencyProof(old, checkpoint.size);
    const body = [`old ${old}`, ...hashes, '', checkpoint.text].join('\n');
    try {
      return await this.#post(this.#url, body);
    } catch (cause) {
      throw new AuditError('audit.witness-refused', `the witness ${this.name} could not be asked`, { cause });
    }
  }

  #refused(what: string): AuditError {
    return new AuditError('audit.witness-refused', `the witness ${this.name} answered ${what}`);
  }
}
