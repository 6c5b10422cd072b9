import { type AuditLog, audited } from '../audit/index.ts';

/**
 * Prepares, then acts between intent and outcome. The intent says what preparation found; where that throws, intent and
 * failed outcome are written all the same, so that a refusal stands in the log like any other failure.
 */
export async function auditedAttempt<P, T>(
  log: AuditLog,
  what: {
    readonly action: string;
    readonly principal: string;
    readonly subject: string;
    /** Stands in the log where preparation threw. */
    readonly asked: Readonly<Record<string, unknown>>;
  },
  steps: {
    prepare(): Promise<P>;
    detail(prepared: P): Readonly<Record<string, unknown>>;
    work(prepared: P, intent: number): Promise<T>;
  },
): Promise<T> {
  const { asked, ...action } = what;
  let prepared: P;
  try {
    prepared = await steps.prepare();
  } catch (error) {
    return await audited(log, { ...action, detail: asked }, async () => {
      throw error;
    });
  }
  return await audited(log, { ...action, detail: steps.detail(prepared) }, (intent) =>
    steps.work(prepared, intent),
  );
}
