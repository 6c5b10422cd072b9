import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { guardian, type Home, makeHome } from '../../test/support/cli.ts';
import { SERVICES, SYNTHETIC_SCHEMA, syntheticTable } from '../../test/support/synthetic-table.ts';

const CONFIGURATION = {
  training: { method: 'trees', rounds: 6, maxLeaves: 6, patience: 0 },
  checkpoints: { everyRounds: 1, maxShare: 1 },
};

/** A table as a file, its schema, and a quick configuration. */
function writeTable(home: Home): { readonly data: string; readonly args: readonly string[] } {
  const data = writeRows(home, 'data.csv', 11);
  const schema = join(home.folder, 'schema.json');
  const config = join(home.folder, 'guardian.yaml');
  writeFileSync(schema, JSON.stringify(SYNTHETIC_SCHEMA.schema));
  writeFileSync(config, JSON.stringify(CONFIGURATION));
  return { data, args: ['--config', config, '--schema', schema, '--name', 'm'] };
}

function writeRows(home: Home, name: string, seed: number): string {
  const { rows, columns, values, typeIndex } = syntheticTable(900, seed);
  const lines = Array.from({ length: rows }, (_, r) => {
    const [a = 0, b = 0, service = 0, noise = 0] = values.subarray(r * columns);
    const kind = ['normal', 'flood', 'tunnel'][typeIndex[r] as number];
    return `${Number.isNaN(a) ? 0 : a},${b},${SERVICES[service]},${noise},7,${kind}`;
  });
  const data = join(home.folder, name);
  writeFileSync(data, ['a,b,service,noise,constant,label', ...lines, ''].join('\n'));
  return data;
}

test('guardian data seal makes a file that trains the very model of the plain one', async () => {
  const home = await makeHome();
  try {
    const { data, args } = writeTable(home);
    const sealed = join(home.folder, 'data.sealed');
    const made = await guardian(home, ['--json', 'data', 'seal', data, '--out', sealed]);
    assert.equal(made.exitCode, 0, made.stderr);
    assert.equal(made.objects.at(-1)?.type, 'data.sealed');
    assert.ok(!readFileSync(sealed).includes('flood'));
    const again = await guardian(home, ['data', 'seal', data, '--out', sealed]);
    assert.equal(again.exitCode, 2);
    assert.match(again.stderr, /cli\.file-exists/);

    const plain = await guardian(home, ['--json', 'train', data, ...args]);
    const trained = await guardian(home, ['--json', 'train', sealed, ...args]);
    assert.equal(trained.objects.at(-1)?.type, 'train.result', trained.stderr);
    assert.equal(trained.objects.at(-1)?.digest, plain.objects.at(-1)?.digest);
    const [measured, measuredPlain] = [
      await guardian(home, ['--json', 'evaluate', 'm@1.1.0', sealed]),
      await guardian(home, ['--json', 'evaluate', 'm@1.1.0', data]),
    ];
    assert.equal(measured.exitCode, 0, measured.stderr);
    assert.deepEqual(measured.objects.at(-1), measuredPlain.objects.at(-1));

    // Cut at a chunk's end or changed anywhere, it trains nothing.
    const bytes = readFileSync(sealed);
    for (const other of [bytes.subarray(0, bytes.length - 1), Buffer.from(bytes).fill(1, 40_000, 40_001)]) {
      writeFileSync(sealed, other);
      const refused = await guardian(home, ['train', sealed, ...args]);
      assert.equal(refused.exitCode, 1);
      assert.match(refused.stderr, /crypto\.integrity/);
    }
  } finally {
    await home.remove();
  }
});

test('guardian train --resume goes on from an interrupt, and says where there is nothing to go on from', async () => {
  const home = await makeHome();
  try {
    const { data, args } = writeTable(home);
    const none = await guardian(home, ['train', data, ...args, '--resume']);
    assert.equal(none.exitCode, 4);
    assert.match(none.stderr, /there are none \(training\.checkpoint-missing\)/);

    const whole = await guardian(home, ['--json', 'train', data, ...args]);
    const { digest } = whole.objects.at(-1) as { digest: string };
    const broken = await guardian(home, ['train', data, ...args], { signal: afterTrees(3) });
    assert.equal(broken.exitCode, 130, broken.stderr);
    const listed = await guardian(home, ['--json', 'checkpoints', 'list']);
    assert.deepEqual(listed.objects.at(-1)?.checkpoints, [{ model: 'm', checkpoint: 3 }]);
    const other = await guardian(home, ['train', data, ...args, '--resume', '--seed', '9']);
    assert.match(other.stderr, /differs in: seed \(training\.checkpoint-mismatch\)/);

    const resumed = await guardian(home, ['--json', 'train', data, ...args, '--resume']);
    const result = resumed.objects.at(-1) as { digest: string; checkpoints: { resumed: number } };
    assert.equal(result.digest, digest, resumed.stderr);
    assert.equal(result.checkpoints.resumed, 3);
    const left = await guardian(home, ['--json', 'checkpoints', 'list']);
    assert.deepEqual(left.objects.at(-1)?.checkpoints, []);
  } finally {
    await home.remove();
  }
});

test('sealed gate data judge and certify a version as the plain ones do, and no other bytes do', async () => {
  const home = await makeHome();
  const say = async (args: readonly string[], exitCode = 0) => {
    const said = await guardian(home, ['--json', ...args]);
    assert.equal(said.exitCode, exitCode, said.stderr);
    return { ...said, object: said.objects.at(-1) as Record<string, unknown> };
  };
  try {
    const { data, args } = writeTable(home);
    const schema = args.slice(args.indexOf('--schema'), args.indexOf('--schema') + 2);
    const sealed = join(home.folder, 'gate.sealed');
    // Too few rounds for the gates; a certificate does not ask for them.
    await say(['train', data, ...args], 1);
    // Rows that the model has not seen.
    const fresh = writeRows(home, 'fresh.csv', 12);
    await say(['data', 'seal', fresh, '--out', sealed]);
    const certify = ['models', 'certify', 'm@1.0.0', '--origin', 'lab'];
    const without = await say([...certify, '--target', '60'], 1);
    assert.match(without.stderr, /registry\.gate-data/);

    const plain = await say(['models', 'gate-data', 'add', 'm', fresh, ...schema]);
    const certified = await say([...certify, '--target', '60']);
    const added = await say(['models', 'gate-data', 'add', 'm', sealed, ...schema]);
    const facts = ({ object }: typeof plain) => {
      const { digest, rows, attacks } = object.gateData as Record<string, unknown>;
      return { digest, rows, attacks };
    };
    assert.deepEqual(facts(added), facts(plain));
    assert.equal(facts(added).rows, 900);
    const again = await say([...certify, '--target', '60']);
    assert.equal(again.object.type, 'certify.result');
    assert.deepEqual(again.object.claims, certified.object.claims);
    for (const claim of Object.values(again.object.claims as Record<string, { status: string }>)) {
      assert.equal(claim.status, 'lab');
    }
    // A promise that 900 rows cannot bear is no certificate.
    const wanting = await say([...certify, '--target', '99.999'], 1);
    assert.match(wanting.stderr, /wanting|want of/);

    const bytes = readFileSync(sealed);
    writeFileSync(sealed, Buffer.from(bytes).fill(1, bytes.length - 4_000, bytes.length - 3_999));
    const changed = await say([...certify, '--target', '60'], 2);
    assert.match(changed.stderr, /registry\.gate-data-unfit/);
    writeFileSync(sealed, bytes);
    await say([...certify, '--target', '60']);
  } finally {
    await home.remove();
  }
});

/** Looks interrupted from the check behind this tree on; training checks once a tree. */
function afterTrees(trees: number): AbortSignal {
  const interrupt = new AbortController();
  let checks = 0;
  return new Proxy(interrupt.signal, {
    get(signal, name) {
      if (name === 'throwIfAborted' && new Error().stack?.includes('onProgress') === true) {
        if (++checks === trees) interrupt.abort();
      }
      const value: unknown = Reflect.get(signal, name, signal);
      return typeof value === 'function' ? value.bind(signal) : value;
    },
  });
}
