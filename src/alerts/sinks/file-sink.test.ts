import assert from 'node:assert/strict';
import { existsSync, readFileSync, renameSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { exfiltration, openNotices, temporaryFolder } from '../../../test/support/notice-house.ts';

const linesOf = (path: string) => readFileSync(path, 'utf8').split('\n').slice(0, -1);

suite('the file of notices', () => {
  test('has a line of EVE for each, readable by its owner alone, and goes on after a line that was cut off', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'eve.json');
    writeFileSync(path, '{"cut', { mode: 0o600 });
    const { delivery, store } = await openNotices(t, [{ type: 'file', name: 'eve', path }]);
    await delivery.start();
    await store.record(['10.0.0.5', '10.0.0.6'].map(exfiltration));
    await delivery.idle();
    const [cut, ...whole] = linesOf(path);
    assert.equal(cut, '{"cut');
    assert.deepEqual(
      whole.map((line) => JSON.parse(line).src_ip),
      ['10.0.0.5', '10.0.0.6'],
    );
    assert.equal(statSync(path).mode & 0o777, 0o600);
  });

  test('is begun anew from a size on, keeps so many, and loses no line of those', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'eve.json');
    const { delivery, store } = await openNotices(t, [
      { type: 'file', name: 'eve', path, maxBytes: 4_096, files: 2, format: 'ocsf' },
    ]);
    await delivery.start();
    await store.record(Array.from({ length: 12 }, (_, i) => exfiltration(`10.0.0.${i}`)));
    await delivery.idle();
    const kept = [`${path}.2`, `${path}.1`, path];
    for (const each of kept) assert.ok(statSync(each).size <= 4_096);
    assert.ok(!existsSync(`${path}.3`));
    const last = kept.flatMap(linesOf).map((line) => JSON.parse(line).evidences[0].src_endpoint.ip);
    const first = 12 - last.length;
    assert.deepEqual(
      last,
      Array.from({ length: last.length }, (_, i) => `10.0.0.${first + i}`),
    );
  });

  test('is opened again where somebody moved it away', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'eve.json');
    const { delivery, store } = await openNotices(t, [{ type: 'file', name: 'eve', path }]);
    await delivery.start();
    await store.record([exfiltration('10.0.0.5')]);
    await delivery.idle();
    renameSync(path, `${path}.moved`);
    await delivery.reload();
    await store.record([exfiltration('10.0.0.6')]);
    await delivery.idle();
    assert.equal(linesOf(`${path}.moved`).length, 1);
    assert.equal(linesOf(path).length, 1);
  });

  test('is no link that leads elsewhere', async (t) => {
    const folder = temporaryFolder(t);
    const path = join(folder, 'eve.json');
    symlinkSync(join(folder, 'elsewhere'), path);
    const { delivery } = await openNotices(t, [{ type: 'file', name: 'eve', path }]);
    await assert.rejects(delivery.start());
    assert.ok(!existsSync(join(folder, 'elsewhere')));
  });
});
