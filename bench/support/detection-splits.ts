import type { LoadedSchema } from '../../src/features/index.ts';
import { loadSchema, readTable } from '../../src/features/index.ts';
import {
  distinctRows,
  type LabelledTable,
  selectRows,
  splitByTime,
  splitStratified,
} from '../../src/training/index.ts';
import { sharedDataPath } from '../../test/support/requires.ts';

/** Rows to train on and rows to be measured on, as ../shared/data/README.md asks. */
export interface DetectionSplit {
  readonly name: string;
  readonly schema: LoadedSchema;
  readonly train: LabelledTable;
  readonly tests: Readonly<Record<string, LabelledTable>>;
}

const HELD = { validation: 0, calibration: 0.2 } as const;
const SEED = 42;

/** The official files, or the one fair split of each set that has none. */
export const DETECTION_SPLITS: Readonly<Record<string, () => Promise<DetectionSplit>>> = {
  'nsl-kdd': async () => {
    const { schema, read } = await reader('nsl-kdd', 'nsl-kdd');
    const train = await read('KDDTrain+.txt.gz');
    const tests = {
      'KDDTest+': await read('KDDTest+.txt.gz'),
      'KDDTest-21': await read('KDDTest-21.txt.gz'),
    };
    return { name: 'nsl-kdd', schema, train, tests };
  },
  kdd99: async () => {
    const { schema, read } = await reader('kdd99', 'kdd99-10pct');
    const train = await read('kddcup.data_10_percent.gz');
    const corrected = await read('corrected.gz');
    return { name: 'kdd99', schema, train, tests: { 'unseen, distinct': unseenRows(train, corrected) } };
  },
  sdn: async () => {
    const { schema, read } = await reader('sdn-ddos', 'sdn-ddos');
    const table = await read('dataset_sdn.csv.gz');
    const split = splitByTime(Uint32Array.from(table.labels.keys()), HELD, table.times);
    const last = selectRows(table, split.calibration);
    return {
      name: 'sdn',
      schema,
      train: selectRows(table, split.train),
      tests: { 'last 20 % by time': last },
    };
  },
  unsw: () => distinctSplit('unsw', 'unsw-nb15', 'unsw-nb15-82k', 'UNSW_NB15_82332.csv.gz'),
  'nf-bot': () =>
    distinctSplit('nf-bot', 'nf-bot-iot-v2', 'nf-bot-iot-v2-reduced', 'nf_bot_iot_v2_reduced.csv.gz'),
};

/** Distinct rows, four fifths of each type to train on. */
async function distinctSplit(
  name: string,
  schemaName: string,
  folder: string,
  file: string,
): Promise<DetectionSplit> {
  const { schema, read } = await reader(schemaName, folder);
  const table = await read(file);
  const split = splitStratified(table, distinctRows(table), HELD, SEED);
  return {
    name,
    schema,
    train: selectRows(table, split.train),
    tests: { 'distinct, 80/20': selectRows(table, split.calibration) },
  };
}

async function reader(schemaName: string, folder: string) {
  const schema = await loadSchema(schemaName);
  return { schema, read: (file: string) => readTable(needed(`${folder}/${file}`), schema) };
}

/** Distinct rows whose values stand in no training row, whatever its label. */
function unseenRows(train: LabelledTable, test: LabelledTable): LabelledTable {
  const key = ({ values, columns }: LabelledTable, r: number): string =>
    Buffer.from(values.buffer, values.byteOffset + r * columns * 4, columns * 4).toString('latin1');
  const known = new Set<string>();
  for (let r = 0; r < train.rows; r++) known.add(key(train, r));
  return selectRows(
    test,
    distinctRows(test).filter((r) => !known.has(key(test, r))),
  );
}

function needed(path: string): string {
  const found = sharedDataPath(path);
  if (found === undefined) throw new Error(`expected ../shared/data/${path}`);
  return found;
}
