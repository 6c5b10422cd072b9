import { InferenceError } from '../errors.ts';
import type { ServedModel } from '../served-model.ts';
import { Rollout, type RolloutEnd, type RolloutParts, type RolloutReport } from './rollout.ts';

/** Told of an end that nobody asked for, so that the log can hold it. */
export type NoteRolloutEnd = (report: RolloutReport) => void;

/** The rollouts of an engine, one a model. The last one of a name stays to be read. */
export class Rollouts {
  readonly #running = new Map<string, Rollout>();
  readonly #last = new Map<string, RolloutReport>();
  readonly #note: NoteRolloutEnd | undefined;
  #isPaused = false;

  constructor(note?: NoteRolloutEnd) {
    this.#note = note;
  }

  /** The one that runs under a name. */
  get(name: string): Rollout | undefined {
    return this.#running.size === 0 ? undefined : this.#running.get(name);
  }

  /** Every one that runs. */
  running(): IterableIterator<Rollout> {
    return this.#running.values();
  }

  /**
   * Lets a candidate run beside the champion of its name. Throws `inference.rollout-refused` where one runs already, where
   * it is the champion itself, or where the two do not read the same rows.
   */
  start(parts: RolloutParts): Rollout {
    const { champion, candidate } = parts;
    const { name, version } = candidate.info;
    const refused = (why: string) =>
      new InferenceError(
        'inference.rollout-refused',
        `${name}@${version} cannot run beside the champion: ${why}`,
      );
    if (this.#running.has(name)) throw refused(`another version does; stop it first`);
    if (version === champion.info.version) throw refused('it is the champion');
    if (candidate.schemaId !== champion.schemaId) throw refused('it reads another schema');
    const missing = [...champion.sourceKinds].filter((kind) => !candidate.sourceKinds.has(kind));
    if (missing.length > 0) throw refused(`it was not trained on ${missing.join(', ')}`);
    const rollout = new Rollout(parts);
    rollout.pause(this.#isPaused);
    this.#running.set(name, rollout);
    return rollout;
  }

  /** Ends the one that runs under a name; undefined where none does. */
  end(name: string, because: RolloutEnd): RolloutReport | undefined {
    const rollout = this.#running.get(name);
    if (rollout === undefined) return undefined;
    this.#running.delete(name);
    rollout.end(because);
    const report = rollout.report();
    this.#last.set(name, report);
    if (because !== 'stopped') this.#note?.(report);
    return report;
  }

  /** To be called when another model has taken the champion's place under a name. */
  championMoved(champion: ServedModel): void {
    const rollout = this.#running.get(champion.info.name);
    if (rollout === undefined || rollout.champion.info.version === champion.info.version) return;
    this.end(champion.info.name, 'champion-moved');
  }

  /** The one that runs, or the last one that did. */
  report(name: string): RolloutReport | undefined {
    return this.#running.get(name)?.report() ?? this.#last.get(name);
  }

  /** While the machine is short of something nothing is compared. */
  pause(isPaused: boolean): void {
    this.#isPaused = isPaused;
    for (const rollout of this.#running.values()) rollout.pause(isPaused);
  }
}
