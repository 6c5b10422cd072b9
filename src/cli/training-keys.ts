import { SecretBuffer, type WrapSet } from '../crypto/index.ts';
import type { CheckpointMark } from '../guardian/index.ts';
import type { Api } from './api.ts';

type Purpose = 'data' | 'checkpoint';

/** Keys of sealed files and marks of checkpoints, as the owner of the state keeps them. Throws `ApiError`. */
export class TrainingKeysClient {
  readonly #api: Api;

  constructor(api: Api) {
    this.#api = api;
  }

  /** A new key; the caller wipes it. */
  async make(
    purpose: Purpose,
    subject: string,
  ): Promise<{ readonly wraps: WrapSet; readonly key: SecretBuffer }> {
    const made = (await this.#api.call('POST', '/v1/training/keys', { purpose, subject })) as {
      wraps: WrapSet;
      key: string;
    };
    return { wraps: made.wraps, key: SecretBuffer.from(Buffer.from(made.key, 'base64')) };
  }

  /** The key of these wraps; the caller wipes it. */
  async open(purpose: Purpose, subject: string, wraps: WrapSet): Promise<SecretBuffer> {
    const body = { purpose, subject, wraps };
    const { key } = (await this.#api.call('POST', '/v1/training/keys/open', body)) as { key: string };
    return SecretBuffer.from(Buffer.from(key, 'base64'));
  }

  async marks(): Promise<Readonly<Record<string, CheckpointMark>>> {
    const { checkpoints } = (await this.#api.call('GET', '/v1/training/checkpoints')) as {
      checkpoints: Record<string, CheckpointMark>;
    };
    return checkpoints;
  }

  /** Durable when resolved. */
  async mark(name: string, mark: CheckpointMark): Promise<void> {
    await this.#api.call('POST', `/v1/training/checkpoints/${encodeURIComponent(name)}`, mark);
  }

  async forget(name: string): Promise<void> {
    await this.#api.call('DELETE', `/v1/training/checkpoints/${encodeURIComponent(name)}`);
  }
}
