import { randomBytes } from 'node:crypto';
import { type AuditLog, audited } from '../audit/index.ts';
import { GuardianError, type Logger } from '../base/index.ts';
import { type Engine, InferenceError, type RolloutConfig, type RolloutReport } from '../inference/index.ts';
import type { Actor, Admission, Registry, VerifiedModel } from '../registry/index.ts';
import { endDetail } from './model-notes.ts';

export interface ModelRolloutsParts {
  readonly registry: Registry;
  readonly engine: Engine;
  readonly log: AuditLog;
  readonly logger: Logger;
  /** Those of the configuration. */
  readonly configured: readonly RolloutConfig[];
  /** Makes a verified version ready beside the champion. */
  readonly hold: (verified: VerifiedModel) => Promise<void>;
}

const KEY_BYTES = 16;
const SYSTEM: Actor = { principal: 'system' };

/**
 * Versions beside a champion, on whose word. A shadow never decides and needs to verify, no more; a canary decides for some
 * and needs what a promotion needs. A rollout ends with the process: what is to run from the start on is configured.
 */
export class ModelRollouts {
  readonly #parts: ModelRolloutsParts;

  constructor(parts: ModelRolloutsParts) {
    this.#parts = parts;
  }

  /** Throws `registry.*`, `inference.no-model`, `inference.rollout-refused`, `inference.model-memory`. */
  async shadow(name: string, version: string, by: Actor): Promise<RolloutReport> {
    const { log, registry } = this.#parts;
    this.#checkFree(name, version);
    const what = {
      action: 'model.shadow',
      principal: by.principal,
      subject: `${name}@${version}`,
      detail: {},
    };
    await audited(log, what, async () => {
      await this.#start(await registry.verify(`${name}@${version}`), { kind: 'shadow', by });
    });
    return this.report(name);
  }

  /** Throws as `shadow`, and what a promotion of the version would throw. */
  async canary(
    name: string,
    version: string,
    percent: number,
    by: Actor,
  ): Promise<{ readonly rollout: RolloutReport; readonly admission: Admission }> {
    this.#checkFree(name, version);
    const admission = await this.#parts.registry.admit({ name, version, percent }, by, (verified) =>
      this.#start(verified, { kind: 'canary', percent, by }),
    );
    return { rollout: this.report(name), admission };
  }

  /** Throws `inference.no-rollout` where none runs. */
  async stop(name: string, by: Actor): Promise<RolloutReport> {
    const { log, engine } = this.#parts;
    const { rollouts } = engine.models;
    const running = rollouts.get(name)?.report();
    if (running === undefined) {
      throw new InferenceError('inference.no-rollout', `nothing runs beside the champion of ${name}`);
    }
    const { candidate } = running;
    const detail = { ...endDetail(running), because: 'stopped' };
    const subject = `${name}@${candidate.version}`;
    await audited(
      log,
      { action: 'model.rollout-stop', principal: by.principal, subject, detail },
      async () => {
        rollouts.end(name, 'stopped');
      },
    );
    return this.report(name);
  }

  /** The rollout that runs under a name, or the last that did. Throws `inference.no-rollout` where there was none. */
  report(name: string): RolloutReport {
    const report = this.#parts.engine.models.rollouts.report(name);
    if (report === undefined) {
      throw new InferenceError('inference.no-rollout', `nothing ran beside the champion of ${name} yet`);
    }
    return report;
  }

  /** When a server has put a champion in place: starts what is configured for it. What cannot run is told; the champion serves. */
  async startConfigured(name: string): Promise<void> {
    const wanted = this.#parts.configured.find((each) => each.name === name);
    if (wanted === undefined) return;
    try {
      if (wanted.kind === 'shadow') await this.shadow(name, wanted.version, SYSTEM);
      else await this.canary(name, wanted.version, wanted.percent ?? 0, SYSTEM);
    } catch (error) {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      const { version, kind } = wanted;
      this.#parts.logger.error({ code, name, version, kind }, 'a configured rollout could not be started');
    }
  }

  /** Before anything is verified, or stands in the log as begun. */
  #checkFree(name: string, version: string): void {
    const { engine } = this.#parts;
    const champion = engine.current(name);
    if (champion === undefined) {
      throw new InferenceError(
        'inference.no-model',
        `no model ${name} serves here, so nothing can run beside it`,
      );
    }
    if (champion.version === version || engine.models.rollouts.get(name) !== undefined) {
      const why = champion.version === version ? 'it is the champion' : 'another version does';
      throw new InferenceError(
        'inference.rollout-refused',
        `${name}@${version} cannot run beside the champion: ${why}`,
      );
    }
  }

  async #start(
    verified: VerifiedModel,
    terms: { readonly kind: 'shadow' | 'canary'; readonly percent?: number; readonly by: Actor },
  ): Promise<void> {
    const { hold, engine } = this.#parts;
    const { by, ...rest } = terms;
    const { name, version } = verified;
    await hold(verified);
    engine.models.startRollout(name, version, {
      ...rest,
      startedBy: by.principal,
      key: randomBytes(KEY_BYTES),
    });
  }
}
