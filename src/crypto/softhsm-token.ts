import { CryptoError } from './errors.ts';
import { type LoadLibrary, loadModule } from './pkcs11-module.ts';
import { trimField } from './pkcs11-token.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';

export interface SoftHsmTokenOptions {
  readonly uri: string;
  /** Asked for where a token is to be made: of its user, and of its security officer. */
  secrets(): Promise<{ readonly pin: string; readonly soPin: string }>;
  readonly loadLibrary?: LoadLibrary;
}

const LABEL_BYTES = 32;

/**
 * Makes the token that a URI names, in SoftHSM and nowhere else: to initialise a token of real hardware is its owner's
 * business. PINs go by function call and never stand on a command line. Resolves to false where the token is there
 * already. Throws `crypto.hsm-away` where the module is not SoftHSM, and what loading the module throws.
 */
export async function ensureSoftHsmToken(options: SoftHsmTokenOptions): Promise<boolean> {
  const { token, modulePath } = parsePkcs11Uri(options.uri);
  const module = await loadModule(modulePath, options.loadLibrary);
  const { api, library } = module;
  if (token === undefined || Buffer.byteLength(token) > LABEL_BYTES) {
    throw new CryptoError(
      'crypto.uri-invalid',
      `expected token=LABEL of at most ${LABEL_BYTES} bytes in the uri`,
    );
  }
  // A token that another process made since is seen only after a restart.
  await module.restart(module.epoch);
  const slots = api.C_GetSlotList(true).map((slot) => ({ slot, info: api.C_GetTokenInfo(slot) }));
  const isReady = (flags: number) => (flags & library.CKF_TOKEN_INITIALIZED) !== 0;
  if (slots.some(({ info }) => isReady(info.flags) && trimField(info.label) === token)) return false;
  if (!module.isSoftHsm) {
    throw new CryptoError(
      'crypto.hsm-away',
      `the module has no token ${token}, and only SoftHSM's are made here`,
    );
  }
  const free = slots.find(({ info }) => !isReady(info.flags));
  if (free === undefined) throw new CryptoError('crypto.hsm-away', 'SoftHSM offers no free slot');
  const { pin, soPin } = await options.secrets();
  try {
    api.C_InitToken(free.slot, soPin, token.padEnd(LABEL_BYTES));
    const session = api.C_OpenSession(free.slot, library.CKF_SERIAL_SESSION | library.CKF_RW_SESSION);
    try {
      api.C_Login(session, library.CKU_SO, soPin);
      api.C_InitPIN(session, pin);
      api.C_Logout(session);
    } finally {
      api.C_CloseSession(session);
    }
  } catch (cause) {
    throw new CryptoError(
      'crypto.hsm-failed',
      'SoftHSM could not make the token; may this user write its folder?',
      {
        cause,
      },
    );
  }
  // The new token has its own slot number after a restart; better now than in the middle of something.
  await module.restart(module.epoch);
  return true;
}
