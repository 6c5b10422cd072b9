import { GuardianError, type Logger } from '../base/index.ts';
import type { Configuration } from '../configuration.ts';
import { type LoadedSchema, parseSchema } from '../features/index.ts';
import { type Engine, InferenceError } from '../inference/index.ts';
import {
  isKeyStoreAway,
  parseReference,
  type Registry,
  type Resident,
  type VerifiedCertificate,
  type VerifiedModel,
} from '../registry/index.ts';

export interface ModelShelfParts {
  readonly registry: Registry;
  readonly engine: Engine;
  readonly logger: Logger;
  /** The section `model` of the configuration. */
  readonly expected: Configuration['model'];
  /** Called when a model of another schema takes a name. */
  readonly onSchemaChange: (model: string) => void;
  /** Called when a model has taken its place. */
  readonly onLoad: (model: VerifiedModel, schema: LoadedSchema) => void;
}

/** Verified models on their way into the engine, one at a time, and those that stay at hand for the way back. */
export class ModelShelf {
  readonly #parts: ModelShelfParts;
  readonly #schemas = new Map<string, LoadedSchema>();
  /** The alias by which a name was loaded last; a name that was loaded by a version follows none. */
  readonly #aliases = new Map<string, string>();
  /** Names that were taken out on purpose: flows that ask for one do not bring it back. */
  readonly #unloaded = new Set<string>();
  #lastLoad: Promise<unknown> = Promise.resolve();

  constructor(parts: ModelShelfParts) {
    this.#parts = parts;
  }

  /** Registry name of the configured model. */
  get modelName(): string {
    return this.#parts.expected.modelPath.split('@')[0] as string;
  }

  /** A verified model that is held in memory: the way back while the key store is away. */
  readonly resident: Resident = (model, version) => this.#parts.engine.models.resident(model, version);

  /** Throws `inference.unexpected-model` where the configuration expects another model under its name. */
  readonly accept = (verified: VerifiedModel): void => {
    if (verified.name !== this.modelName) return;
    const { schema } = parseSchema(verified.schemaBytes, `the schema of ${verified.name}`);
    checkExpected(this.#parts.expected, verified, schema.columns);
  };

  /** Verifies the model a reference names and puts it in place. Throws `registry.*`, `inference.*`. */
  load(reference: string): Promise<VerifiedModel> {
    return this.#inLine(() => this.#load(reference));
  }

  /**
   * As `load` for the champion; while the keys are away, the version may come from memory, where it was verified: by `verified`,
   * or as it was loaded before.
   */
  reload(name: string, version: string, verified?: VerifiedModel): Promise<unknown> {
    return this.#inLine(() =>
      this.#load(`${name}@champion`).catch(async (error: unknown) => {
        const held = isKeyStoreAway(error) ? (this.resident(name, version) ?? verified) : undefined;
        if (held === undefined) throw error;
        await this.#put(held);
        this.#aliases.set(name, 'champion');
      }),
    );
  }

  /** Makes a verified version ready beside the one in place. Not in line: the registry's own line may be waiting for it. */
  async hold(verified: VerifiedModel): Promise<void> {
    await this.#parts.engine.hold(verified, { certificate: await this.#certificateOf(verified) });
  }

  /** The alias that what serves under a name was loaded by, and is kept in step with. */
  aliasOf(name: string): string | undefined {
    return this.#aliases.get(name);
  }

  /** Names whose model was loaded by an alias. */
  followed(): Iterable<string> {
    return this.#aliases.keys();
  }

  /** Where the alias of a name points elsewhere by now: verifies what it points at and puts that in place. */
  follow(name: string): Promise<void> {
    return this.#inLine(async () => {
      const alias = this.#aliases.get(name);
      if (alias === undefined) return;
      const { version } = await this.#parts.registry.resolve(`${name}@${alias}`);
      if (this.#parts.engine.current(name)?.version !== version) await this.#load(`${name}@${alias}`);
    });
  }

  /** Takes a model out of service. Whether there was one. */
  unload(name: string): Promise<boolean> {
    return this.#inLine(async () => {
      const isThere = this.#parts.engine.unload(name);
      if (isThere) this.#unloaded.add(name);
      this.#schemas.delete(name);
      this.#aliases.delete(name);
      return isThere;
    });
  }

  /** Whether the name was taken out of service, and nobody put a model back since. */
  isUnloaded(name: string): boolean {
    return this.#unloaded.has(name);
  }

  /** The schema of the model loaded under a name. */
  find(model: string): LoadedSchema | undefined {
    return this.#schemas.get(model);
  }

  /** The same; throws `inference.no-model`. */
  schema(model: string): LoadedSchema {
    const loaded = this.#schemas.get(model);
    if (loaded === undefined) {
      throw new InferenceError('inference.no-model', `no model named ${JSON.stringify(model)} is loaded`);
    }
    return loaded;
  }

  /** One load at a time, each asking where the alias points when its turn comes: the last word of two is what serves. */
  #inLine<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#lastLoad.then(work, work);
    this.#lastLoad = result.catch(() => undefined);
    return result;
  }

  /** A certificate that does not verify permits nothing; to detect, the model needs none. */
  async #certificateOf(verified: VerifiedModel): Promise<VerifiedCertificate | undefined> {
    try {
      return await this.#parts.registry.certificate(verified);
    } catch (error) {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      const { name, version } = verified;
      this.#parts.logger.error(
        { code, name, version },
        'a certificate was refused; its model serves without',
      );
      return undefined;
    }
  }

  async #load(reference: string): Promise<VerifiedModel> {
    const verified = await this.#parts.registry.verify(reference);
    const isOther = this.#parts.engine.current(verified.name)?.version !== verified.version;
    await this.#put(verified);
    const asked = parseReference(reference);
    if ('alias' in asked) this.#aliases.set(asked.name, asked.alias);
    else if (isOther) this.#aliases.delete(asked.name);
    return verified;
  }

  async #put(verified: VerifiedModel): Promise<void> {
    const { engine, onSchemaChange, onLoad } = this.#parts;
    this.accept(verified);
    const loaded = parseSchema(verified.schemaBytes, `the schema of ${verified.name}`);
    await engine.load(verified, { certificate: await this.#certificateOf(verified) });
    const before = this.#schemas.get(verified.name);
    this.#schemas.set(verified.name, loaded);
    this.#unloaded.delete(verified.name);
    if (before !== undefined && before.id !== loaded.id) onSchemaChange(verified.name);
    onLoad(verified, loaded);
  }
}

/** What the configuration expects of the model that watches; nothing else may take its place. */
function checkExpected(
  model: Configuration['model'],
  verified: VerifiedModel,
  schemaColumns: LoadedSchema['schema']['columns'],
): void {
  if (model.modelVersion !== null && verified.version !== model.modelVersion) {
    throw new InferenceError(
      'inference.unexpected-model',
      `the configuration expects ${verified.name}@${model.modelVersion}, got ${verified.version}`,
    );
  }
  const columns = schemaColumns.map(({ name }) => name);
  if (model.featureColumns !== null && model.featureColumns.join('\n') !== columns.join('\n')) {
    throw new InferenceError(
      'inference.unexpected-model',
      `the configuration names ${model.featureColumns.length} feature columns, the model's schema has other ones`,
    );
  }
}
