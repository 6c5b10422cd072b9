import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test } from 'node:test';
import { makeCandidate, openHouse } from '../../test/support/registry-fixture.ts';
import { ManualClock } from '../base/index.ts';
import { sha256 } from '../crypto/index.ts';
import {
  compareVersions,
  isName,
  isVersion,
  nextVersion,
  parseReference,
  strategyVersion,
  type VersioningStrategy,
} from './names.ts';

const DIGEST = sha256('weights');
const NOW = Date.UTC(2026, 10, 23, 4, 13, 25, 123);

describe('versions', () => {
  test('come from the strategy', () => {
    const given = (strategy: VersioningStrategy, taken: readonly string[]) =>
      strategyVersion(strategy, { taken: new Set(taken), digest: DIGEST, now: NOW });
    assert.equal(given('semver', []), '1.0.0');
    assert.equal(given('semver', ['1.9.0', '1.10.3', '20261123-041325-123']), '1.11.0');
    assert.equal(given('timestamp', []), '20261123-041325-123');
    assert.equal(given('timestamp', ['20261123-041325-123']), '20261123-041325-124');
    assert.equal(given('digest', []), `sha256-${DIGEST.slice(7)}`);
  });

  test('of every form are versions, and none of them is a name', () => {
    for (const version of ['1.0.0', '20261123-041325-123', `sha256-${'a'.repeat(64)}`]) {
      assert.ok(isVersion(version), version);
      assert.ok(!isName(version), version);
      assert.deepEqual(parseReference(`flow@${version}`), { name: 'flow', version });
    }
    for (const text of [
      '1.0',
      '2026-041325-123',
      `sha256-${'a'.repeat(63)}`,
      `sha256-${'A'.repeat(64)}`,
      '1.0.0\n',
    ]) {
      assert.ok(!isVersion(text), text);
    }
  });

  test('are ordered by number, other forms behind them by text', () => {
    const sorted = ['20261123-041325-123', '1.10.0', '1.9.0', '20260101-000000-000'].sort(compareVersions);
    assert.deepEqual(sorted, ['1.9.0', '1.10.0', '20260101-000000-000', '20261123-041325-123']);
    assert.equal(compareVersions('1.0.0', '1.0.0'), 0);
    assert.equal(nextVersion(['1.9.0', '1.10.0']), '1.11.0');
  });
});

for (const versioning of ['timestamp', 'digest'] as const) {
  test(`a model lives its whole life under ${versioning} versions`, async () => {
    const folder = mkdtempSync(join(tmpdir(), 'versions-'));
    const house = await openHouse(folder, new ManualClock(), { policy: { versioning } });
    try {
      const { registry } = house;
      const by = { principal: 'ada' };
      const first = await registry.publish(makeCandidate({ seed: 1 }), by);
      const second = await registry.publish(makeCandidate({ seed: 2 }), by);
      await registry.promote('flow', first.version, 'champion', by);
      await registry.promote('flow', second.version, 'champion', by);
      assert.equal((await registry.rollback('flow', 'champion', by)).version, first.version);
      assert.equal((await registry.verify(`flow@${second.version}`)).digest, second.digest);
      await registry.exportTo(`flow@${first.version}`, join(folder, 'export'));
      if (versioning === 'digest') {
        assert.equal(first.version, first.digest.replace(':', '-'));
        await assert.rejects(registry.publish(makeCandidate({ seed: 1 }), by), {
          code: 'registry.version-exists',
        });
        await assert.rejects(
          registry.publish(makeCandidate({ seed: 3 }), by, { version: `sha256-${'0'.repeat(64)}` }),
          {
            code: 'registry.candidate-invalid',
          },
        );
      } else {
        assert.deepEqual([first.version, second.version], ['20260101-000000-000', '20260101-000000-001']);
      }
    } finally {
      await house.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
}
