import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { sha256 } from '../crypto/index.ts';
import { Executions } from './executions.ts';

const model = (version: string) => ({ info: { name: 'flow', version, digest: sha256(version) } });

suite('executions', () => {
  test('are counted by version and size, over a model that is loaded again', () => {
    const executions = new Executions();
    const first = model('1.0.0');
    executions.add(first, 8, 2);
    executions.add(first, 8, 3);
    executions.add(model('1.0.0'), 2, 1);
    executions.add(model('2.0.0'), 1, 1);
    assert.deepEqual(executions.read('flow', '1.0.0'), {
      count: 3,
      rows: 18,
      sizes: [
        { rows: 2, count: 1, spentMs: 1 },
        { rows: 8, count: 2, spentMs: 5 },
      ],
    });
    assert.deepEqual(executions.read('flow', '3.0.0'), { count: 0, rows: 0, sizes: [] });
  });

  test('take bounded memory, whatever sizes and versions come', () => {
    const executions = new Executions();
    for (let i = 1; i <= 200; i++) executions.add(model(`1.0.${i}`), 1, 1);
    assert.equal(executions.read('flow', '1.0.1').count, 0, 'forgotten');
    const last = model('1.0.200');
    for (let rows = 1; rows <= 1_000; rows++) executions.add(last, rows, 1);
    const { count, sizes } = executions.read('flow', '1.0.200');
    assert.deepEqual([count, sizes.length], [1_001, 128]);
  });
});
