import { readSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { GuardianError, SeededRandom } from '../../src/base/index.ts';
import { Api, injectTransport } from '../../src/cli/api.ts';
import { configurationSchema } from '../../src/configuration.ts';
import { type LoadedSchema, loadSchema } from '../../src/features/index.ts';
import { type Guardian, openGuardian } from '../../src/guardian/index.ts';
import { nextVersion, readExport, type VersionSummary } from '../../src/registry/index.ts';
import { buildServer } from '../../src/server/index.ts';
import { flowCandidate } from './served-guardian.ts';

/** Facts of a registry, or those that a change sets: null takes one away, `?` is a value that only the answer tells. */
export type Facts = Readonly<Record<string, string | null>>;

/** A change as it is asked for. */
export interface Change {
  readonly op: string;
  readonly facts: Facts;
  /** Whether all of its facts change or none does; else each goes by itself. */
  readonly isAtomic: boolean;
  /** Its intent in the log, which has as many entries as `since` says before it. The subject of `access.add` is drawn by the server: there the label stands for it. */
  readonly action?: string;
  readonly subject?: string;
}

/** What the process says, a line each, the answer of a change with its facts. */
export type Report =
  | { readonly is: 'loaded' | 'opening' | 'ready' }
  | { readonly is: 'begin'; readonly n: number; readonly change: Change & { readonly since: number } }
  | { readonly is: 'done'; readonly n: number; readonly facts: Facts }
  | { readonly is: 'refused'; readonly n: number; readonly code: string };

export interface LiveOptions {
  /** Holds `state` and `config`. */
  readonly folder: string;
  readonly seed: number;
  /** An export of another registry, and the public key that signed it (PEM). */
  readonly offered: string;
  readonly offeredKey: string;
}

/** Opens the guardian of a folder as both processes do. */
export function openLive(folder: string): Promise<Guardian> {
  return openGuardian({
    stateFolder: join(folder, 'state'),
    configFolder: join(folder, 'config'),
    config: configurationSchema.parse({
      registry: { approvals: 2, retention: { auditDays: 0, keepDays: 0, keep: 2 } },
    }),
  });
}

const NAMES = ['flow', 'edge', 'guest'] as const;
const ALIASES = ['champion', 'challenger', 'canary'] as const;
const APPROVERS = ['bob', 'carol', 'dan'] as const;
const PURPOSES = ['wrapping', 'wrapping', 'model-signing', 'log-signing'] as const;
const AUTHOR = { principal: 'ada' };
const OPERATOR = { principal: 'ops' };

/** How often each is drawn, among those that change models. */
const MIX = {
  publish: 5,
  approve: 6,
  promote: 4,
  rollback: 2,
  tag: 3,
  hold: 2,
  release: 2,
  rotate: 1,
  revoke: 1,
  prune: 2,
  erase: 2,
  escrow: 1,
  restore: 1,
} as const;
type Op = keyof typeof MIX;
const DRAWN = (Object.keys(MIX) as Op[]).flatMap((op) => Array<Op>(MIX[op]).fill(op));

/** What may be answered instead; any other error ends the process, and with it the campaign. */
const REFUSALS: ReadonlySet<string> = new Set([
  'registry.version-held',
  'registry.version-in-use',
  'registry.version-erased',
  'registry.version-pruned',
  'registry.no-previous',
  'registry.alias-unknown',
  'registry.approvals-missing',
]);

/** Written by the time it returns: what was said stays said when the process is killed. */
function say(report: Report): void {
  writeSync(1, `${JSON.stringify(report)}\n`);
}

/** Changes a registry until it is killed: models in one line, ways in in another, with a reader beside them. */
class LiveRegistry {
  readonly #guardian: Guardian;
  readonly #api: Api;
  readonly #schema: LoadedSchema;
  readonly #options: LiveOptions;
  readonly #random: SeededRandom;
  #n = 0;
  #changed = () => {};

  constructor(guardian: Guardian, api: Api, schema: LoadedSchema, options: LiveOptions) {
    this.#guardian = guardian;
    this.#api = api;
    this.#schema = schema;
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
  }

  async changeModels(): Promise<never> {
    for (;;) {
      const name = this.#draw(NAMES);
      const versions = await this.#guardian.registry.list(name);
      const live = versions.filter(({ state }) => state === 'live');
      const op = live.length === 0 ? 'publish' : this.#draw(DRAWN);
      if (op === 'publish') await this.#publish(name, versions);
      else if (op === 'prune') await this.#prune(name);
      else if (op === 'rotate' || op === 'revoke') await this.#changeKeys(op);
      else if (op === 'escrow' || op === 'restore') await this.#escrow(op);
      else if (op === 'rollback') await this.#rollback(name);
      else await this.#changeVersion(op, this.#draw(live));
      this.#changed();
    }
  }

  async changeAccess(): Promise<never> {
    const random = new SeededRandom((this.#options.seed ^ 0x5eed) >>> 0);
    for (;;) {
      // No more of them than of changes to models.
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
      const keys = await this.#guardian.database.accessKeys.listAccessKeys();
      const standing = keys.filter(({ revokedAt }) => revokedAt === undefined);
      const last = standing[random.integer(0, Math.max(0, standing.length - 1))];
      if (last !== undefined && random.chance(0.5)) {
        const facts = { [`access ${last.principal}`]: 'revoked' };
        await this.#ask(
          { op: 'access-revoke', facts, isAtomic: true, action: 'access.revoke', subject: last.id },
          () => this.#api.call('DELETE', `/v1/access/${last.id}`),
        );
        continue;
      }
      const label = `client-${this.#options.seed}-${this.#n}`;
      const roles = random.chance(0.5) ? ['viewer'] : ['submitter', 'operator'];
      const facts = { [`access ${label}`]: roles.join('+') };
      await this.#ask({ op: 'access-add', facts, isAtomic: true, action: 'access.add', subject: label }, () =>
        this.#api.call('POST', '/v1/access', { label, roles, days: 30 }),
      );
    }
  }

  /** Reads meet changes half way, and kills meet reads. */
  async read(): Promise<never> {
    const { registry } = this.#guardian;
    const random = new SeededRandom((this.#options.seed ^ 0xbeef) >>> 0);
    for (;;) {
      const name = NAMES[random.integer(0, NAMES.length - 1)] ?? 'flow';
      try {
        await registry.history(name);
        await registry.verify(`${name}@champion`);
      } catch (error) {
        if (!isRefusal(error)) throw error;
      }
      // What only ever waits for another keeps timers waiting.
      await new Promise((resolve) => setImmediate(resolve));
    }
  }

  async #publish(name: string, versions: readonly VersionSummary[]): Promise<void> {
    const { registry } = this.#guardian;
    const version = nextVersion(versions.map((each) => each.version));
    const subject = `${name}@${version}`;
    const isImport = name === 'guest';
    const facts = { [`version ${subject}`]: 'live' };
    const action = isImport ? 'model.import' : 'model.publish';
    await this.#ask(
      { op: isImport ? 'import' : 'publish', facts, isAtomic: true, action, subject },
      async () => {
        const { offered, offeredKey } = this.#options;
        if (isImport) {
          await registry.importFiles(await readExport(offered), [offeredKey], AUTHOR, { name, version });
        } else {
          const candidate = flowCandidate(this.#schema, name, this.#random.uniform(-1, 1));
          await registry.publish(candidate, AUTHOR, { version });
        }
      },
    );
  }

  async #changeVersion(
    op: 'approve' | 'promote' | 'tag' | 'hold' | 'release' | 'erase',
    { name, version, holds }: VersionSummary,
  ): Promise<void> {
    const { registry } = this.#guardian;
    const { custody } = registry;
    const subject = `${name}@${version}`;
    const alias = this.#draw(ALIASES);
    const reason = `round ${this.#options.seed} change ${this.#n}`;
    const change = { op, isAtomic: true, action: `model.${op}`, subject };
    switch (op) {
      case 'approve': {
        const principal = this.#draw(APPROVERS);
        await this.#ask({ ...change, facts: { [`approval ${subject} ${principal}`]: 'yes' } }, () =>
          registry.approve(name, version, { principal }),
        );
        return;
      }
      case 'promote': {
        // Two have to stand for it; who has not yet does so first.
        const { approvals } = await registry.show(subject);
        if (approvals.length < 2) {
          const principal = APPROVERS.find((each) => !approvals.some((a) => a.principal === each)) ?? 'bob';
          await this.#ask(
            {
              ...change,
              op: 'approve',
              action: 'model.approve',
              facts: { [`approval ${subject} ${principal}`]: 'yes' },
            },
            () => registry.approve(name, version, { principal }),
          );
          return;
        }
        const moves = String((await registry.history(name)).length + 1);
        const facts = { [`alias ${name} ${alias}`]: version, [`moves ${name}`]: moves };
        await this.#ask({ ...change, facts }, () => this.#guardian.promote(name, version, alias, OPERATOR));
        return;
      }
      case 'tag': {
        const value = this.#random.chance(0.3) ? null : reason;
        const tags = { [this.#draw(['stage', 'team'])]: value, note: reason };
        const facts = Object.fromEntries(
          Object.entries(tags).map(([key, text]) => [`tag ${subject} ${key}`, text]),
        );
        await this.#ask({ op, facts, isAtomic: false }, () => custody.tag(name, version, tags, OPERATOR));
        return;
      }
      case 'hold':
        await this.#ask({ ...change, facts: { [`hold ${subject} ${reason}`]: 'yes' } }, () =>
          custody.hold(name, version, { reason }, OPERATOR),
        );
        return;
      case 'release': {
        const hold = holds[0];
        if (hold === undefined) return;
        await this.#ask({ ...change, facts: { [`hold ${subject} ${hold.reason}`]: null } }, () =>
          custody.release(name, version, { hold: hold.id, reason }, OPERATOR),
        );
        return;
      }
      case 'erase':
        await this.#ask({ ...change, facts: { [`version ${subject}`]: 'erased' } }, () =>
          custody.erase(name, version, { reason }, OPERATOR),
        );
        return;
      default:
        op satisfies never;
    }
  }

  async #rollback(name: string): Promise<void> {
    const alias = this.#draw(ALIASES);
    const moves = String((await this.#guardian.registry.history(name)).length + 1);
    const facts = { [`alias ${name} ${alias}`]: '?', [`moves ${name}`]: moves };
    await this.#ask({ op: 'rollback', facts, isAtomic: true }, async () => {
      const { version } = await this.#guardian.rollback(name, alias, OPERATOR);
      return { ...facts, [`alias ${name} ${alias}`]: version };
    });
  }

  async #prune(name: string): Promise<void> {
    const { custody } = this.#guardian.registry;
    const { pruned } = await custody.prune(name, { dryRun: true }, OPERATOR);
    const facts = Object.fromEntries(pruned.map((version) => [`version ${name}@${version}`, 'pruned']));
    await this.#ask({ op: 'prune', facts, isAtomic: false }, () => custody.prune(name, {}, OPERATOR));
  }

  async #escrow(op: 'escrow' | 'restore'): Promise<void> {
    const { custody } = this.#guardian.registry;
    await this.#ask({ op, facts: {}, isAtomic: true }, () =>
      op === 'escrow' ? custody.escrow(OPERATOR) : custody.restoreEscrow(OPERATOR),
    );
  }

  /** Log keys are rotated and not revoked: who verifies from outside is given all that ever signed. */
  async #changeKeys(op: 'rotate' | 'revoke'): Promise<void> {
    const { registry, keys } = this.#guardian;
    const all = await keys.list();
    if (op === 'rotate') {
      const purpose = this.#draw(PURPOSES);
      const before = (await keys.active(purpose)).id;
      const facts = { [`active ${purpose}`]: '?', [`key ${before}`]: 'retired' };
      const change = { op, facts, isAtomic: true, action: 'key.rotate', subject: purpose };
      await this.#ask(change, async () => {
        const { key } = await registry.rotateKey(purpose, OPERATOR);
        return { ...facts, [`active ${purpose}`]: key.id };
      });
      return;
    }
    const retired = all.filter(({ purpose, state }) => purpose !== 'log-signing' && state === 'retired');
    if (retired.length === 0) return;
    const { id } = this.#draw(retired);
    const facts = { [`key ${id}`]: 'revoked' };
    await this.#ask({ op, facts, isAtomic: true, action: 'key.revoke', subject: id }, () =>
      registry.revokeKey(id, OPERATOR),
    );
  }

  /** Says what it begins, does it, and says that it was answered. */
  async #ask(change: Change, work: () => Promise<Facts | unknown>): Promise<void> {
    const n = this.#n++;
    say({ is: 'begin', n, change: { ...change, since: this.#guardian.log.size } });
    try {
      const answer = await work();
      const isAnswered = Object.values(change.facts).includes('?');
      say({ is: 'done', n, facts: isAnswered ? (answer as Facts) : change.facts });
    } catch (error) {
      if (!isRefusal(error)) throw error;
      say({ is: 'refused', n, code: error.code });
    }
  }

  #draw<T>(of: readonly T[]): T {
    return of[this.#random.integer(0, of.length - 1)] as T;
  }
}

function isRefusal(error: unknown): error is GuardianError {
  return error instanceof GuardianError && REFUSALS.has(error.code);
}

/** Run as a process of its own, `live-registry.ts OPTIONS`, it waits for a byte, opens, and changes until it is killed. */
if (process.argv[1] === import.meta.filename) {
  const options = JSON.parse(process.argv[2] ?? '') as LiveOptions;
  const schema = await loadSchema('flow-core');
  say({ is: 'loaded' });
  readSync(0, new Uint8Array(1));
  say({ is: 'opening' });
  const guardian = await openLive(options.folder);
  const api = new Api(injectTransport(await buildServer(guardian, { trust: 'local' })));
  say({ is: 'ready' });
  const live = new LiveRegistry(guardian, api, schema, options);
  await Promise.all([live.changeModels(), live.changeAccess(), live.read()]);
}
