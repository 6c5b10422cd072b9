import { GuardianError } from '../../base/index.ts';
import type { Engine } from '../engine.ts';
import { InferenceError } from '../errors.ts';
import type { ListedModel } from './model-list.ts';
import { decodeRequest, encodeAnswer, encodeRefusal } from './score-frames.ts';

/**
 * Scores one batch for the owner by the very model that was listed, and says what it said; or why not, by code. A worker that
 * falls back says nothing at all: what stands in for a model is for the owner to decide.
 */
export async function answerScoring(
  engine: Engine,
  model: ListedModel,
  schema: { readonly schemaId: `sha256:${string}`; readonly sourceKind: string },
  frame: Uint8Array,
): Promise<Uint8Array> {
  try {
    const { rows, columns, deadlineMs, priority, values } = decodeRequest(frame);
    try {
      const { name, version } = model;
      const batch = { ...schema, rows, columns, values, rejected: [] };
      const columnsOut = await engine.scoreColumns(batch, { model: name, version, deadlineMs, priority });
      if (columnsOut.degraded !== undefined || columnsOut.model.digest !== model.digest) {
        throw new InferenceError('inference.model-failed', 'another model than the one asked answered');
      }
      return encodeAnswer(rows, columnsOut);
    } finally {
      values.fill(0);
    }
  } catch (error) {
    const isKnown = error instanceof GuardianError;
    return encodeRefusal({
      code: isKnown ? error.code : 'inference.model-failed',
      retryAfterMs: isKnown ? (error.retryAfterMs ?? 0) : 0,
    });
  }
}
