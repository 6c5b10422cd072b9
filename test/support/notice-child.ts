/** Stores one finding and sends its notice to a sink; whoever gets it kills this process before it hears an answer. */
import { join } from 'node:path';
import { alertsConfigSchema, DetectionStore, NoticeDelivery } from '../../src/alerts/index.ts';
import { silentLogger, systemClock } from '../../src/base/index.ts';
import { openDatabase } from '../../src/storage/index.ts';
import { makeJudged } from './judged.ts';

const [folder = '', sink = ''] = process.argv.slice(2);
const db = await openDatabase(join(folder, 'guardian.db'));
const delivery = new NoticeDelivery({
  config: alertsConfigSchema.parse({ sinks: [JSON.parse(sink)] }).sinks,
  ...{ queries: db.detections, settings: db.settings, clock: systemClock, logger: silentLogger },
  noteLost: async () => {},
});
await delivery.start();
const store = new DetectionStore({
  queries: db.detections,
  clock: systemClock,
  onStored: () => delivery.wake(),
});
await store.record([makeJudged({}, { kind: 'exfiltration' })]);
await delivery.idle();
