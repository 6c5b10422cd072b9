import { isAbsolute } from 'node:path';
import { sha256 } from '../crypto/index.ts';
import { auditedAttempt } from './audited-attempt.ts';
import type { Actor, RegistryContext } from './context.ts';
import { RegistryError } from './errors.ts';
import type { GateDataFiles } from './gate-evaluator.ts';
import { GATE_DATA, type GateData } from './log-index.ts';
import { checkName } from './names.ts';

/**
 * Registers the data that a model's gates are run on: where they lie, their digest, and the schema they are read by.
 * Replaces the set before. Throws `registry.gate-data-unfit`, `registry.gate-data-missing` without an evaluator.
 */
export async function registerGateData(
  context: RegistryContext,
  name: string,
  source: GateDataFiles & { readonly schemaBytes: Uint8Array },
  by: Actor,
): Promise<GateData> {
  checkName(name, 'model name');
  const { path, labels } = source;
  for (const file of [path, labels]) {
    if (file !== undefined && !isAbsolute(file)) throw unfit('expected absolute paths of gate data');
  }
  const { evaluator } = context;
  if (evaluator === undefined) {
    throw new RegistryError('registry.gate-data-missing', 'this registry has nobody to run gates');
  }
  const files = { path, ...(labels !== undefined && { labels }) };
  await auditedAttempt(
    context.log,
    { action: GATE_DATA, principal: by.principal, subject: name, asked: { path } },
    {
      prepare: async () => {
        const facts = await inspect(() => evaluator.inspect(files, source.schemaBytes));
        if (facts.attacks === 0 || facts.attacks === facts.rows) {
          throw unfit('expected attacks and ordinary rows among the gate data, got one of them only');
        }
        return { ...facts, schemaId: sha256(source.schemaBytes) };
      },
      detail: ({ digest, rows, attacks, schemaId }) => ({
        path,
        labels: labels ?? null,
        digest,
        rows,
        attacks,
        schemaId,
      }),
      work: async () => {},
    },
  );
  await context.index.catchUp();
  return context.index.gateData(name) as GateData;
}

async function inspect<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (cause) {
    throw new RegistryError('registry.gate-data-unfit', 'the gate data cannot be read by this schema', {
      cause,
    });
  }
}

function unfit(message: string): RegistryError {
  return new RegistryError('registry.gate-data-unfit', message);
}
