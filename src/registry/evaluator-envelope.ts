import { z } from 'zod';
import {
  canonicalJson,
  dssePreAuthEncoding,
  type KeyStore,
  parseCanonicalJson,
  verifySignature,
} from '../crypto/index.ts';
import { RegistryError } from './errors.ts';

const MAX_PAYLOAD = 1 << 24;

/** Signs canonical JSON with the evaluator's key, as a DSSE envelope in canonical JSON. Throws what the key store throws. */
export async function signByEvaluator(
  keys: KeyStore,
  payloadType: string,
  payload: Uint8Array,
): Promise<Uint8Array> {
  const key = await keys.active('evaluator-signing');
  const signature = await keys.sign(key.id, dssePreAuthEncoding(payloadType, payload));
  return Buffer.from(
    canonicalJson({
      payloadType,
      payload: Buffer.from(payload).toString('base64'),
      signatures: [{ keyid: key.id, sig: Buffer.from(signature).toString('base64') }],
    }),
  );
}

/**
 * The payload of an envelope of this type. The key must be an evaluator's that was not revoked: a submitter's does not
 * count. Throws `registry.evidence-tampered`.
 */
export async function openByEvaluator(
  keys: Pick<KeyStore, 'find'>,
  payloadType: string,
  bytes: Uint8Array,
): Promise<{ readonly payload: Uint8Array; readonly signedBy: string }> {
  try {
    const envelope = z
      .strictObject({
        payloadType: z.literal(payloadType),
        payload: z.string().max(MAX_PAYLOAD),
        signatures: z
          .array(z.strictObject({ keyid: z.string().max(256), sig: z.string().max(1024) }))
          .length(1),
      })
      .parse(parseCanonicalJson(Buffer.from(bytes).toString('utf8')));
    const [signature] = envelope.signatures;
    const payload = Buffer.from(envelope.payload, 'base64');
    const key = await keys.find(signature?.keyid ?? '');
    if (key?.purpose !== 'evaluator-signing' || key.state === 'revoked' || key.publicKeyPem === undefined) {
      throw tampered('the report is not signed by an evaluator that is trusted');
    }
    const isGood = verifySignature(
      key.publicKeyPem,
      key.algorithm,
      dssePreAuthEncoding(payloadType, payload),
      Buffer.from(signature?.sig ?? '', 'base64'),
    );
    if (!isGood) throw tampered('the signature does not fit the report');
    return { payload, signedBy: key.id };
  } catch (cause) {
    if (cause instanceof RegistryError) throw cause;
    throw new RegistryError('registry.evidence-tampered', 'the report is not in the form that is signed', {
      cause,
    });
  }
}

function tampered(message: string): RegistryError {
  return new RegistryError('registry.evidence-tampered', message);
}
