import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { FastifyInstance } from 'fastify';
import {
  flowCandidate,
  openServedHouse,
  type ServedHouse,
  sentFlow,
} from '../../test/support/served-guardian.ts';
import { buildServer } from './build-server.ts';
import type { Role } from './roles.ts';

let house: ServedHouse;
let owner: FastifyInstance;
let app: FastifyInstance;

before(async () => {
  house = await openServedHouse({ withModel: false });
  owner = await buildServer(house.guardian, { trust: 'local' });
  app = await buildServer(house.guardian, { trust: 'api-keys', allowedHosts: ['guardian.test'] });
});

after(async () => {
  await app.close();
  await owner.close();
  await house.close();
});

async function sendAs(roles: readonly Role[], reference: string) {
  const made = await owner.inject({ method: 'POST', url: '/v1/access', payload: { label: 'caller', roles } });
  const response = await app.inject({
    method: 'POST',
    url: `/v1/events?model=${encodeURIComponent(reference)}`,
    headers: { host: 'guardian.test', authorization: `Bearer ${made.json<{ key: string }>().key}` },
    payload: [sentFlow()],
  });
  return { status: response.statusCode, code: response.json<{ code?: string }>().code };
}

test('who sends flows cannot put a version in place that nobody promoted', async () => {
  const { guardian, schema } = house;
  await guardian.registry.publish(flowCandidate(schema), { principal: 'mallory' });
  const refused = await sendAs(['submitter'], 'flow@1.0.0');
  assert.deepEqual(refused, { status: 403, code: 'server.role-missing' });
  assert.equal(guardian.engine.current('flow'), undefined);
});

test('nor one that another alias than champion points at', async () => {
  const { guardian } = house;
  await guardian.promote('flow', '1.0.0', 'shadow', { principal: 'tester' });
  assert.equal((await sendAs(['submitter'], 'flow@shadow')).status, 403);
  assert.equal(guardian.engine.current('flow'), undefined);
});

test('an operator who sends flows may, and the champion comes in place with the first flows of anybody', async () => {
  const { guardian, schema } = house;
  assert.equal((await sendAs(['submitter', 'operator'], 'flow@1.0.0')).status, 200);
  const { version } = await guardian.registry.publish(flowCandidate(schema, 'other'), {
    principal: 'mallory',
  });
  await guardian.registry.promote('other', version, 'champion', { principal: 'tester' });
  assert.equal((await sendAs(['submitter'], `other@${version}`)).status, 200);
  assert.equal(guardian.engine.current('other')?.version, version);
});
