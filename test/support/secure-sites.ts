import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { guardian, type Home, makeHome } from './cli.ts';
import { SYNTHETIC_SCHEMA, syntheticTable } from './synthetic-table.ts';

/** A table with labels as a file, by the schema beside it. */
export function writeSyntheticData(path: string, rows: number, seed: number): void {
  const table = syntheticTable(rows, seed);
  const lines = ['a,b,service,noise,constant,label'];
  for (let r = 0; r < table.rows; r++) {
    const [a = 0, b, service, noise, constant] = table.values.subarray(r * 5, r * 5 + 5);
    const name = SYNTHETIC_SCHEMA.schema.columns[2]?.categories?.[service as number];
    const kind = table.labels[r] === 0 ? 'normal' : 'flood';
    lines.push([Number.isNaN(a) ? 0 : a, b, name, noise, constant, kind].join(','));
  }
  writeFileSync(path, `${lines.join('\n')}\n`);
}

/** Homes of members, of an approver and of a coordinator, each with keys and data of its own. */
export interface SecureSites {
  readonly members: ReadonlyMap<string, Home>;
  readonly approver: Home;
  readonly coordinator: Home;
  readonly schema: string;
  readonly config: string;
  /** Of the approver. */
  readonly approverFile: string;
  /** Rows of a site. */
  data(home: Home): string;
  /** A signed roster of all members. */
  sign(run: string, more?: readonly string[]): Promise<string>;
  remove(): Promise<void>;
}

export async function makeSecureSites(count: number): Promise<SecureSites> {
  const [approver, coordinator] = [await makeHome(), await makeHome()];
  const members = new Map<string, Home>();
  for (let i = 0; i < count; i++) members.set(`site-${i}`, await makeHome());
  const homes = [approver, coordinator, ...members.values()];
  const schema = join(coordinator.folder, 'schema.json');
  const config = join(coordinator.folder, 'guardian.yaml');
  writeFileSync(schema, JSON.stringify(SYNTHETIC_SCHEMA.schema));
  writeFileSync(config, 'training: { method: trees, rounds: 8, maxLeaves: 8, treeRounds: 4, patience: 3 }\n');
  const data = (home: Home) => join(home.folder, 'rows.csv');
  homes.forEach((home, i) => {
    writeSyntheticData(data(home), home === coordinator ? 600 : 500, 20 + i);
  });
  const approverFile = join(approver.folder, 'approver.json');
  await expectDone(approver, ['roster', 'approver', '--name', 'board', '--out', approverFile]);
  for (const [id, home] of members) {
    const out = join(home.folder, 'identity.json');
    await expectDone(home, ['roster', 'identity', '--id', id, '--out', out]);
  }
  return {
    ...{ members, approver, coordinator, schema, config, approverFile, data },
    sign: async (run, more = []) => {
      const out = join(approver.folder, `${run}.json`);
      const identities = [...members.values()].map(({ folder }) => join(folder, 'identity.json'));
      const args = ['roster', 'sign', '--run', run, '--approver', approverFile, '--out', out];
      await expectDone(approver, [...args, ...more, '--member', ...identities]);
      return out;
    },
    remove: async () => {
      for (const home of homes) await home.remove();
    },
  };
}

async function expectDone(home: Home, args: readonly string[]): Promise<void> {
  const { exitCode, stderr } = await guardian(home, args);
  if (exitCode !== 0) throw new Error(`${args.slice(0, 2).join(' ')} ended with ${exitCode}: ${stderr}`);
}
