import { randomBytes } from 'node:crypto';
import type { Template } from 'pkcs11js';
import { CryptoError } from './errors.ts';
import { CURVE_PARAMETERS, ecdsaDer } from './key-encodings.ts';
import type { Library, Pkcs11Module } from './pkcs11-module.ts';
import { returnValue } from './pkcs11-module.ts';
import type { Handle, Session } from './pkcs11-token.ts';
import { SecretBuffer } from './secret-buffer.ts';

/** Not among the names of pkcs11js: PKCS#11 3.0, section 2.3. */
const CKM_EC_EDWARDS_KEY_PAIR_GEN = 0x1055;
const CKM_EDDSA = 0x1057;

type Curve = keyof typeof CURVE_PARAMETERS;

export interface MadeObject {
  /** CKA_ID, hexadecimal. */
  readonly objectId: string;
  readonly handles: readonly Handle[];
}

/** What the store asks of a token: each function is one operation on one session. Secret parts never leave it. */
export class TokenObjects {
  readonly #module: Pkcs11Module;

  constructor(module: Pkcs11Module) {
    this.#module = module;
  }

  /** Makes a signing pair whose private part is sensitive and cannot be extracted. `point` is its CKA_EC_POINT. */
  async makePair(
    { handle }: Session,
    curve: Curve,
    label: string,
  ): Promise<MadeObject & { readonly point: Buffer }> {
    const { api, library: c } = this.#module;
    const id = randomBytes(16);
    const mechanism = curve === 'ed25519' ? CKM_EC_EDWARDS_KEY_PAIR_GEN : c.CKM_EC_KEY_PAIR_GEN;
    const common: Template = [
      { type: c.CKA_TOKEN, value: true },
      { type: c.CKA_ID, value: id },
      { type: c.CKA_LABEL, value: label },
    ];
    const pair = await api.C_GenerateKeyPairAsync(
      handle,
      { mechanism },
      [
        ...common,
        { type: c.CKA_VERIFY, value: true },
        { type: c.CKA_EC_PARAMS, value: CURVE_PARAMETERS[curve] },
      ],
      [...common, ...guarded(c), { type: c.CKA_SIGN, value: true }],
    );
    const [point] = api.C_GetAttributeValue(handle, pair.publicKey, [{ type: c.CKA_EC_POINT }]);
    return {
      objectId: id.toString('hex'),
      handles: [pair.publicKey, pair.privateKey],
      point: Buffer.from(point?.value as Buffer),
    };
  }

  /** Makes an AES-256 key that only wraps, or a key that only makes HMACs. */
  async makeSecret({ handle }: Session, use: 'wrap' | 'mac', label: string): Promise<MadeObject> {
    const { api, library: c } = this.#module;
    const id = randomBytes(16);
    const isMac = use === 'mac';
    const made = await api.C_GenerateKeyAsync(
      handle,
      { mechanism: isMac ? c.CKM_GENERIC_SECRET_KEY_GEN : c.CKM_AES_KEY_GEN },
      [
        { type: c.CKA_CLASS, value: c.CKO_SECRET_KEY },
        { type: c.CKA_KEY_TYPE, value: isMac ? c.CKK_GENERIC_SECRET : c.CKK_AES },
        { type: c.CKA_TOKEN, value: true },
        { type: c.CKA_ID, value: id },
        { type: c.CKA_LABEL, value: label },
        { type: c.CKA_VALUE_LEN, value: 32 },
        ...guarded(c),
        ...(isMac ? [c.CKA_SIGN, c.CKA_VERIFY] : [c.CKA_WRAP, c.CKA_UNWRAP]).map((type) => ({
          type,
          value: true,
        })),
        ...(isMac ? [c.CKA_ENCRYPT, c.CKA_DECRYPT] : [c.CKA_ENCRYPT, c.CKA_DECRYPT, c.CKA_SIGN]).map(
          (type) => ({
            type,
            value: false,
          }),
        ),
      ],
    );
    return { objectId: id.toString('hex'), handles: [made] };
  }

  /** DER for P-256, over a digest made outside (the token has no combined mechanism); 64 bytes for Ed25519. */
  async sign(
    { handle }: Session,
    curve: Curve,
    key: Handle,
    digestOrMessage: Uint8Array,
  ): Promise<Uint8Array> {
    const { api, library: c } = this.#module;
    api.C_SignInit(handle, { mechanism: curve === 'ed25519' ? CKM_EDDSA : c.CKM_ECDSA }, key);
    const raw = await api.C_SignAsync(handle, Buffer.from(digestOrMessage), Buffer.alloc(64));
    return curve === 'ed25519' ? Buffer.from(raw) : ecdsaDer(raw);
  }

  async mac({ handle }: Session, key: Handle, text: Buffer): Promise<Buffer> {
    const { api, library: c } = this.#module;
    api.C_SignInit(handle, { mechanism: c.CKM_SHA256_HMAC }, key);
    return Buffer.from(await api.C_SignAsync(handle, text, Buffer.alloc(32)));
  }

  /** CKM_AES_KEY_WRAP, which is RFC 3394. The key is an object of this session for as long as it takes. */
  async wrap({ handle }: Session, wrapping: Handle, key: SecretBuffer): Promise<Uint8Array> {
    const { api, library: c } = this.#module;
    const object = key.use((bytes) =>
      api.C_CreateObject(handle, [
        ...transient(c),
        { type: c.CKA_VALUE, value: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length) },
      ]),
    );
    try {
      const room = Buffer.alloc(key.length + 8);
      return Buffer.from(
        await api.C_WrapKeyAsync(handle, { mechanism: c.CKM_AES_KEY_WRAP }, wrapping, object, room),
      );
    } finally {
      this.#destroy(handle, object);
    }
  }

  /** Throws `crypto.integrity` where the token is sure that it is the wrapped bytes. */
  async unwrap({ handle }: Session, wrapping: Handle, wrapped: Uint8Array): Promise<SecretBuffer> {
    const { api, library: c } = this.#module;
    const object = await api.C_UnwrapKeyAsync(
      handle,
      { mechanism: c.CKM_AES_KEY_WRAP },
      wrapping,
      Buffer.from(wrapped),
      transient(c),
    );
    try {
      const [value] = api.C_GetAttributeValue(handle, object, [{ type: c.CKA_VALUE }]);
      return SecretBuffer.from(value?.value as Buffer);
    } finally {
      this.#destroy(handle, object);
    }
  }

  /** Every data object of a label, with its bytes. */
  dataObjects({ handle }: Session, label: string): { readonly object: Handle; readonly bytes: Buffer }[] {
    const { api, library: c } = this.#module;
    api.C_FindObjectsInit(handle, [
      { type: c.CKA_CLASS, value: c.CKO_DATA },
      { type: c.CKA_LABEL, value: label },
    ]);
    let found: Handle[];
    try {
      found = api.C_FindObjects(handle, 64);
    } finally {
      api.C_FindObjectsFinal(handle);
    }
    return found.map((object) => {
      const [value] = api.C_GetAttributeValue(handle, object, [{ type: c.CKA_VALUE }]);
      return { object, bytes: Buffer.from(value?.value as Buffer) };
    });
  }

  /** A private data object that nobody changes: a new record is a new object. */
  putData({ handle }: Session, label: string, bytes: Buffer): Handle {
    const { api, library: c } = this.#module;
    return api.C_CreateObject(handle, [
      { type: c.CKA_CLASS, value: c.CKO_DATA },
      { type: c.CKA_TOKEN, value: true },
      { type: c.CKA_PRIVATE, value: true },
      { type: c.CKA_MODIFIABLE, value: false },
      { type: c.CKA_LABEL, value: label },
      { type: c.CKA_VALUE, value: bytes },
    ]);
  }

  /** What cannot be destroyed is left: nothing refers to it. */
  destroy({ handle }: Session, objects: readonly Handle[]): void {
    for (const object of objects) this.#destroy(handle, object);
  }

  #destroy(session: Handle, object: Handle): void {
    try {
      this.#module.api.C_DestroyObject(session, object);
    } catch {
      // A session object goes with its session; an orphan of the token is not in the record.
    }
  }
}

/** `crypto.hsm-failed` for a return value that no caller knows better; other errors as they are. */
export function hsmFailed(what: string, cause: unknown): unknown {
  const value = returnValue(cause);
  if (value === undefined || cause instanceof CryptoError) return cause;
  return new CryptoError('crypto.hsm-failed', `the token refused to ${what}: ${value}`, { cause });
}

function guarded(c: Library): Template {
  return [
    { type: c.CKA_PRIVATE, value: true },
    { type: c.CKA_SENSITIVE, value: true },
    { type: c.CKA_EXTRACTABLE, value: false },
  ];
}

/** A generic secret of this session alone, readable, since it is on its way in or out. */
function transient(c: Library): Template {
  return [
    { type: c.CKA_CLASS, value: c.CKO_SECRET_KEY },
    { type: c.CKA_KEY_TYPE, value: c.CKK_GENERIC_SECRET },
    { type: c.CKA_TOKEN, value: false },
    { type: c.CKA_PRIVATE, value: true },
    { type: c.CKA_SENSITIVE, value: false },
    { type: c.CKA_EXTRACTABLE, value: true },
  ];
}
