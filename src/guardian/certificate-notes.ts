import { type AuditLog, audited } from '../audit/index.ts';
import { type CounterMetric, GuardianError, type Logger, type Metrics } from '../base/index.ts';
import type { CertificateChange, NoteCertificateChange } from '../inference/index.ts';

/** Columns of a shift that one entry of the log names. */
const COLUMNS_NAMED = 32;
const ACTOR = 'system';

/** Puts every change of a certificate's state into the audit log, in order, and counts it. */
export class CertificateNotes {
  readonly #log: AuditLog;
  readonly #logger: Logger;
  #changes: CounterMetric | undefined;
  #last: Promise<unknown> = Promise.resolve();

  constructor(log: AuditLog, logger: Logger) {
    this.#log = log;
    this.#logger = logger;
  }

  observe(metrics: Metrics): void {
    this.#changes = metrics.counter(
      'certificate_changes_total',
      'Certificates that began or ceased to count, by change and reason.',
      ['change', 'reason'],
    );
  }

  /** An activation is done between its intent and its outcome; a suspension was done before and is an event. */
  readonly note: NoteCertificateChange = (change, apply) => {
    const noted = this.#last.then(() => this.#append(change, apply));
    this.#last = noted.catch((error: unknown) => {
      const code = error instanceof GuardianError ? error.code : 'unknown';
      this.#logger.error({ code, change: change.change }, 'a change of a certificate could not be noted');
    });
    return noted;
  };

  /** Resolves when what was noted so far is in the log. */
  async settled(): Promise<void> {
    await this.#last;
  }

  async #append(change: CertificateChange, apply: () => void): Promise<void> {
    const { model, sourceKind, reason, rows, shifted, certificate } = change;
    const subject = `${model.name}@${model.version}`;
    const named = shifted.slice(0, COLUMNS_NAMED).map(({ name, psi, pValue }) => ({ name, psi, pValue }));
    const detail = { certificate, sourceKind, reason, rows, shifted: named, shiftedColumns: shifted.length };
    if (change.change === 'activate') {
      const what = { action: 'certificate.activate', principal: ACTOR, subject, detail };
      await audited(this.#log, what, async () => apply());
    } else {
      await this.#log.append({
        ...{ kind: 'event', action: 'certificate.suspend', principal: ACTOR, subject, detail },
      });
    }
    this.#changes?.add({ change: change.change, reason });
  }
}
