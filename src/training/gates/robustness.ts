import { SeededRandom } from '../../base/index.ts';
import type { LoadedSchema } from '../../features/index.ts';
import { type DetectionModel, type Interval, wilson } from '../../models/index.ts';
import { type LabelledTable, selectRows } from '../labelled-table.ts';
import { moveWithinReach, reachOf } from './attacker-reach.ts';
import type { GateConfig } from './config.ts';

/** How recall fares when attacks move what an attacker can move. */
export interface Robustness {
  readonly rows: number;
  readonly movedColumns: readonly string[];
  readonly recall: Interval;
  /** Of rows that were found in every one of their moved forms. */
  readonly movedRecall: Interval;
  /** `recall` minus `movedRecall`, by value. */
  readonly loss: number;
}

/** Draws attack rows and moves each several times. Undefined where no attack or no column can be moved. */
export function measureRobustness(
  model: DetectionModel,
  schema: LoadedSchema,
  table: LabelledTable,
  config: Pick<GateConfig, 'reachFactor' | 'reachDraws' | 'reachRows' | 'reachSeed'>,
): Robustness | undefined {
  const movedColumns = schema.schema.columns.filter((column) => reachOf(column) !== undefined);
  const random = new SeededRandom(config.reachSeed);
  const attacks: number[] = [];
  for (let r = 0; r < table.rows; r++) if (table.labels[r] === 1) attacks.push(r);
  if (movedColumns.length === 0 || attacks.length === 0) return undefined;
  const drawn = random.shuffle(attacks).slice(0, config.reachRows);
  const { values, rows } = selectRows(table, drawn);
  const out = { probability: new Float32Array(rows), kind: new Int16Array(rows) };
  const countFound = (found: Uint8Array, given: Float32Array): number => {
    model.score(given, rows, out);
    let count = 0;
    for (let r = 0; r < rows; r++) {
      if ((out.probability[r] as number) < model.threshold) found[r] = 0;
      count += found[r] as number;
    }
    return count;
  };
  const plain = countFound(new Uint8Array(rows).fill(1), values);
  const found = new Uint8Array(rows).fill(1);
  let all = rows;
  for (let draw = 0; draw < config.reachDraws; draw++) {
    const moved = moveWithinReach(values, schema, { factor: config.reachFactor, seed: random.uint32() });
    all = countFound(found, moved);
  }
  return {
    rows,
    movedColumns: movedColumns.map(({ name }) => name),
    recall: wilson(plain, rows),
    movedRecall: wilson(all, rows),
    loss: (plain - all) / rows,
  };
}
