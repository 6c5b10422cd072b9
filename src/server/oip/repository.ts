import { audited } from '../../audit/index.ts';
import { RegistryError, VERSION_FORM } from '../../registry/index.ts';
import { ServerError } from '../errors.ts';
import type { ServedGuardian } from '../handler.ts';
import { type Caller, mayAct } from '../roles.ts';

/** A version of the registry, as the extension's index tells it. */
export interface IndexedVersion {
  readonly name: string;
  readonly version: string;
  readonly state: 'READY' | 'UNAVAILABLE';
  /** Why it is not ready; empty where it is. */
  readonly reason: string;
}

/** Parameters of a load or unload by name, whatever the protocol. */
export type RepositoryParameters = Readonly<Record<string, unknown>>;

/** Parameters that would have bytes or settings served that nobody published, approved or signed. */
const UNVERIFIED = /^(config$|file:)/;

/** Every version of the registry and whether it is the one that serves; only those where `readyOnly`. */
export async function repositoryIndex(
  guardian: ServedGuardian,
  readyOnly: boolean,
): Promise<readonly IndexedVersion[]> {
  const versions = await guardian.registry.list();
  const index = versions.map(({ name, version }): IndexedVersion => {
    const isReady = guardian.engine.current(name)?.version === version;
    return { name, version, state: isReady ? 'READY' : 'UNAVAILABLE', reason: isReady ? '' : 'not loaded' };
  });
  return readyOnly ? index.filter(({ state }) => state === 'READY') : index;
}

/**
 * Puts the champion, or the version that the parameter `version` names, in place, verified from its stored bytes. A
 * version that is not the champion asks for what its promotion would: an approver, approvals, gates. Throws
 * `server.request-invalid`, `server.role-missing`, `registry.*`, `inference.*`.
 */
export async function loadModel(
  guardian: ServedGuardian,
  name: string,
  parameters: RepositoryParameters,
  caller: Caller,
): Promise<void> {
  checkParameters(parameters, ['version']);
  const target = parameters.version ?? 'champion';
  if (typeof target !== 'string' || !(target === 'champion' || VERSION_FORM.test(target))) {
    throw invalid('version: expected a version such as 1.2.0');
  }
  const { version } = await guardian.registry.resolve(`${name}@${target}`);
  if (target !== 'champion' && version !== (await championOf(guardian, name))) {
    await admitForAll(guardian, name, version, caller);
  }
  await audited(
    guardian.log,
    { action: 'model.load', principal: caller.principal, subject: `${name}@${version}`, detail: {} },
    () => guardian.load(`${name}@${version}`),
  );
}

/** Takes a model out of service; requests that began before end with it. Throws `server.model-unknown`. */
export async function unloadModel(
  guardian: ServedGuardian,
  name: string,
  parameters: RepositoryParameters,
  caller: Caller,
): Promise<void> {
  // Sent by every client of Triton: no model here depends on another.
  checkParameters(parameters, ['unload_dependents']);
  const model = guardian.engine.current(name);
  if (model === undefined) throw new ServerError('server.model-unknown', `no model ${name} is loaded here`);
  await audited(
    guardian.log,
    { action: 'model.unload', principal: caller.principal, subject: `${name}@${model.version}`, detail: {} },
    () => guardian.unload(name),
  );
}

/** Undefined where no version was promoted yet. */
async function championOf({ registry }: ServedGuardian, name: string): Promise<string | undefined> {
  try {
    return (await registry.resolve(`${name}@champion`)).version;
  } catch (error) {
    if (error instanceof RegistryError && error.code === 'registry.alias-unknown') return undefined;
    throw error;
  }
}

/** Lets a version decide for every source. It is put in place after that, and not from within the registry's own line. */
async function admitForAll(
  guardian: ServedGuardian,
  name: string,
  version: string,
  caller: Caller,
): Promise<void> {
  if (!mayAct(caller, 'approver')) {
    const { principal } = caller;
    const subject = `${name}@${version}`;
    guardian.denied({ principal, reason: 'server.role-missing', action: 'server.request', subject });
    throw new ServerError('server.role-missing', 'expected a caller with the role approver');
  }
  await guardian.registry.admit({ name, version, percent: 100 }, caller, async () => undefined);
}

function checkParameters(parameters: RepositoryParameters, known: readonly string[]): void {
  for (const name of Object.keys(parameters)) {
    if (known.includes(name)) continue;
    const kind = name.startsWith('file:') ? 'file:' : name.slice(0, 64);
    throw UNVERIFIED.test(name)
      ? invalid(`the parameter ${kind} is refused: only what the registry verifies is loaded`)
      : invalid(`the parameter ${JSON.stringify(kind)} is not known`);
  }
}

function invalid(message: string): ServerError {
  return new ServerError('server.request-invalid', message);
}
