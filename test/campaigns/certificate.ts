import { parseArgs } from 'node:util';
import { SeededRandom } from '../../src/base/index.ts';
import { loadSchema, readTable } from '../../src/features/index.ts';
import { type CertificateOrigin, certify, describeClaim } from '../../src/models/index.ts';
import {
  distinctRows,
  joinTables,
  type LabelledTable,
  selectRows,
  trainDetector,
} from '../../src/training/index.ts';
import {
  countAt,
  labRows,
  repeatCertification,
  type ScoredRows,
  ScorePool,
} from '../support/certificate-study.ts';
import { sharedDataPath } from '../support/requires.ts';

/**
 * Certificates on as many decisions as they need: KDD99 (both files, distinct rows, three random parts) and the lab
 * (fresh runs until each verdict has enough decisions, twice: to certify on and to look at), then 100 repetitions each.
 */
const { values: options } = parseArgs({
  options: {
    part: { type: 'string', multiple: true, default: ['kdd99', 'lab'] },
    /** Runs of the lab, each 300 s long; more are not made. */
    runs: { type: 'string', default: '120' },
    /** Decisions of a verdict that the calibration part of the lab is to have. */
    decisions: { type: 'string', default: '600000' },
    repetitions: { type: 'string', default: '100' },
    /** How the model of KDD99 is trained. */
    method: { type: 'string', default: 'hybrid' },
    /** Runs of the lab that the model is trained on. */
    training: { type: 'string', default: '8' },
    /** No further run of the lab is made after so many minutes. */
    minutes: { type: 'string', default: '600' },
  },
});
const repetitions = Number(options.repetitions);

for (const part of options.part) {
  const before = process.cpuUsage();
  if (part === 'kdd99') await studyKdd99();
  else await studyLab();
  const { user, system } = process.cpuUsage(before);
  say({
    part,
    cpuSeconds: (user + system) / 1e6,
    peakMegabytes: Math.round(process.resourceUsage().maxRSS / 1024),
  });
}

async function studyKdd99(): Promise<void> {
  const schema = await loadSchema('kdd99');
  const files = ['kdd99-10pct/kddcup.data_10_percent.gz', 'kdd99-10pct/corrected.gz'].map((file) => {
    const path = sharedDataPath(file);
    if (path === undefined) throw new Error(`needs the data ${file}`);
    return path;
  });
  const merged = joinTables(await Promise.all(files.map((file) => readTable(file, schema))));
  const rows = new SeededRandom(1).shuffle([...distinctRows(merged)]);
  const third = Math.floor(rows.length / 3);
  const { model, held } = await trainDetector({
    ...{ schema, sourceKinds: schema.schema.sourceKinds, seed: 1 },
    config: { method: options.method === 'trees' ? 'trees' : 'hybrid' },
    table: selectRows(merged, rows.slice(0, third)),
  });
  const pool = new ScorePool(model);
  pool.add(selectRows(merged, rows.slice(third)));
  const planning = new ScorePool(model);
  planning.add(held);
  study(pool.rows(), {
    ...{ name: 'kdd99', origin: 'public', calibrationRows: third, planning: planning.rows() },
    claims: [
      ['block', 1e-3],
      ['allow', 1e-3],
      ['allow', 1e-4],
      ['block', 1e-5],
      ['allow', 1e-5],
    ],
  });
}

async function studyLab(): Promise<void> {
  const schema = await loadSchema('flow-core');
  const training: LabelledTable[] = [];
  const started = performance.now();
  for (let i = 0; i < Number(options.training); i++) training.push(await labRows(101 + i, 300, schema));
  const { model } = await trainDetector({
    ...{ schema, sourceKinds: schema.schema.sourceKinds, seed: 1, table: joinTables(training) },
    // As the demo trains its model.
    config: {
      ...{
        method: 'trees',
        kinds: false,
        split: 'order',
        duplicates: 'keep',
        rounds: 110,
        learningRate: 0.13,
      },
      thresholdPolicy: { kind: 'fixed', value: 0.5 },
    },
  });
  training.length = 0;
  // Two halves of fresh runs, each with enough decisions of either verdict.
  const wanted = 2 * Number(options.decisions);
  const pool = new ScorePool(model);
  const begun = process.cpuUsage();
  let runs = 0;
  const isEnough = () =>
    runs >= Number(options.runs) ||
    Math.min(pool.decisions('block'), pool.decisions('allow')) >= wanted ||
    performance.now() - started > 60_000 * Number(options.minutes);
  while (!isEnough()) {
    pool.add(await labRows(10_000 + runs++, 300, schema));
    const { user } = process.cpuUsage(begun);
    const counts = { block: pool.decisions('block'), allow: pool.decisions('allow') };
    process.stderr.write(`${JSON.stringify({ runs, ...counts, cpuSeconds: user / 1e6 })}\n`);
  }
  const rows = pool.rows();
  study(rows, {
    ...{ name: 'lab', origin: 'lab', calibrationRows: Math.floor(rows.labels.length / 2) },
    claims: [
      ['block', 1e-4],
      ['allow', 1e-4],
      ['block', 1e-5],
      ['allow', 1e-5],
    ],
  });
}

function study(
  rows: ScoredRows,
  given: {
    readonly name: string;
    readonly origin: CertificateOrigin;
    readonly calibrationRows: number;
    readonly planning?: ScoredRows;
    readonly claims: readonly (readonly ['block' | 'allow', number])[];
  },
): void {
  const { name, origin, calibrationRows: n, planning, claims } = given;
  const { probability, labels, episodes, decisionThreshold } = rows;
  const calibration = {
    ...{ probability: probability.subarray(0, n), labels: labels.subarray(0, n), decisionThreshold, origin },
    ...(planning && { planning }),
    ...(episodes && { episodes: episodes.subarray(0, n) }),
  };
  say({ data: name, rows: probability.length, attacks: labels.reduce((sum, each) => sum + each, 0) });
  for (const [side, target] of claims) {
    const claim = certify(calibration, { side, target });
    const fresh = countAt(
      { probability: probability.subarray(n), labels: labels.subarray(n), decisionThreshold },
      side,
      claim.threshold,
    );
    say({ data: name, claim: describeClaim(claim), status: claim.status, fresh });
    const options = { side, target, origin, repetitions, seed: 1, ...(planning && { planning }) };
    say({ data: name, ...repeatCertification(rows, options) });
    if (origin === 'lab') say({ data: name, ...repeatCertification(rows, { ...options, drawn: 'runs' }) });
  }
}

function say(result: Readonly<Record<string, unknown>>): void {
  process.stdout.write(`${JSON.stringify({ type: 'campaign.result', name: 'certificate', ...result })}\n`);
}
