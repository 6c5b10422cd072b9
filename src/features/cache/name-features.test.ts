import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { silentLogger } from '../../base/index.ts';
import { TEXT_TRANSFORMS } from '../schema-limits.ts';
import { deriveFromText } from '../text-transforms.ts';
import { NameFeatures } from './name-features.ts';

test('numbers of a name are the same from the cache and derived anew', () => {
  const names = new NameFeatures({ budgetBytes: 4_000, logger: silentLogger });
  fc.assert(
    fc.property(
      fc.array(fc.oneof(fc.domain(), fc.constantFrom('', 'a', 'www.example.com', 'constructor'))),
      (list) => {
        for (const name of list) {
          for (const transform of TEXT_TRANSFORMS) {
            assert.equal(names.derive(name, transform), deriveFromText(name, transform));
          }
        }
      },
    ),
    { seed: 20261123, numRuns: 100 },
  );
  assert.ok(names.cache.bytes <= 4_000);
  assert.ok(names.cache.counters.present > 0);
  assert.ok(names.cache.counters.evicted > 0);
});
