import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { readConfiguration } from '../../src/configuration.ts';
import { guardian, makeHome } from '../support/cli.ts';
import {
  type Container,
  DEPLOY_FOLDER,
  readCompose,
  readDeployed,
  readManifests,
  selects,
  workloadsOf,
  type Yaml,
} from '../support/deployed.ts';
import { requireTool } from '../support/requires.ts';

const manifests = readManifests();
const workloads = workloadsOf(manifests);
const compose = readCompose();
const services = Object.entries(compose.services) as readonly (readonly [string, Yaml])[];
const find = (kind: string, name: string): Yaml =>
  manifests.find((each) => each.kind === kind && each.metadata.name === name) ??
  assert.fail(`${kind} ${name}`);

/** Folder of make-secrets.sh that the files of a service come from. */
const SECRETS: Readonly<Record<string, string>> = {
  'guardian-server': 'guardian',
  'guardian-worker': 'worker',
  nats: 'nats',
  postgres: 'postgres',
};

/** What make-secrets.sh writes, by folder. */
function madeSecrets(): { readonly folder: string; filesOf(name: string): readonly string[] } {
  const folder = join(mkdtempSync(join(tmpdir(), 'guardian-secrets-')), 'secrets');
  execFileSync(join(DEPLOY_FOLDER, 'make-secrets.sh'), [folder], { stdio: 'pipe' });
  return { folder, filesOf: (name) => readdirSync(join(folder, name)) };
}

suite('the compose file and the manifests', () => {
  test('hold a configuration that our own schema takes, and the same one', async (t) => {
    const folder = mkdtempSync(join(tmpdir(), 'guardian-deployed-'));
    t.after(() => rmSync(folder, { recursive: true }));
    const file = join(folder, 'guardian.yaml');
    const text = find('ConfigMap', 'guardian').data['guardian.yaml'] as string;
    writeFileSync(file, text);
    const { values, origins } = await readConfiguration({ file });
    assert.equal(values.server.host, '0.0.0.0');
    assert.equal(origins.get('server.tls.keyFile'), 'file');
    writeFileSync(file, text.replace('passwordFile:', 'passwordfile:'));
    await assert.rejects(readConfiguration({ file }), { code: 'base.config-invalid' });

    assert.equal(text, readDeployed('guardian.yaml'));
    assert.equal(find('ConfigMap', 'nats').data['nats.conf'], readDeployed('nats.conf'));
    assert.equal(find('ConfigMap', 'postgres').data['pg_hba.conf'], readDeployed('pg_hba.conf'));
    assert.deepEqual(
      Object.values(compose.configs as Record<string, { file: string }>).map(({ file: name }) => name),
      ['./guardian.yaml', './nats.conf', './pg_hba.conf'],
    );
  });

  test('run commands with options that the program has', async () => {
    const home = await makeHome();
    const ours = [
      ...services
        .filter(([, { image }]) => image.startsWith('ai-guardian:'))
        .map(([, { command }]) => command),
      ...workloads
        .flatMap(({ containers }) => containers)
        .filter(({ image }) => image.startsWith('ai-guardian:'))
        .map(({ args }) => args),
    ] as readonly (readonly string[])[];
    assert.equal(ours.length, 4);
    for (const args of ours) {
      // It goes no further than its configuration, which comes after all of the command line has been read.
      const config = ['--config', join(home.folder, 'none.yaml')];
      const read = await guardian(home, [...args, ...config]);
      assert.match(read.stderr, /base\.config-invalid/, args.join(' '));
      const wrong = await guardian(home, [...args, '--no-such-option', ...config]);
      assert.match(wrong.stderr, /unknown option '--no-such-option'/);
    }
    await home.remove();
  });

  test('name files that are mounted, and that make-secrets.sh makes', () => {
    const { folder, filesOf } = madeSecrets();
    try {
      // The trust of the workers is made by a person, from the server's public keys.
      const made = Object.entries(compose.secrets as Record<string, { file: string }>)
        .map(([name, { file }]) => [name, file.replace('./secrets/', '')] as const)
        .filter(([name]) => name !== 'worker-trust');
      for (const [, file] of made) assert.equal(statSync(join(folder, file)).mode & 0o777, 0o600, file);

      for (const [name, { command, configs = [], secrets = [] }] of services) {
        const targets = [...configs, ...secrets].map(({ target }: { target: string }) => target);
        const named = [
          ...JSON.stringify(command ?? '').matchAll(/\/(?:run\/secrets|etc)\/[\w./-]+/g),
          ...(name === 'guardian' ? readDeployed('guardian.yaml').matchAll(/\/run\/secrets\/[\w./-]+/g) : []),
          ...(name === 'nats' ? readDeployed('nats.conf').matchAll(/(?<=")\/run\/secrets\/[\w./-]+/g) : []),
        ].map(([path]) => path);
        for (const path of named) assert.ok(targets.includes(path), `${name} is not given ${path}`);
        // Nobody is given what is another's.
        const own = name === 'guardian' || name === 'worker' || name === 'nats' ? name : 'postgres';
        for (const { source } of secrets) assert.match(source, new RegExp(`^${own}-`));
      }

      for (const { name, pod, containers } of workloads) {
        const secret = (pod.volumes as Yaml[]).find((volume) => volume.secret)?.secret.secretName as string;
        const files = filesOf(SECRETS[secret] ?? '');
        const text = JSON.stringify(containers) + (name === 'guardian' ? readDeployed('guardian.yaml') : '');
        const named = [...text.matchAll(/\/run\/secrets\/([\w.-]+)/g)].map(([, file]) => file ?? '');
        assert.ok(named.length > 0 || name === 'nats');
        for (const file of named) assert.ok(files.includes(file), `${name}: ${secret} holds no ${file}`);
      }
      assert.ok(filesOf('guardian').includes('unlock.key') && !filesOf('worker').includes('unlock.key'));
    } finally {
      rmSync(join(folder, '..'), { recursive: true });
    }
  });

  test('give every service limits, a health check, a read-only root and no rights', () => {
    for (const [name, service] of services) {
      const { limits } = service.deploy.resources;
      assert.ok(limits.cpus && limits.memory && limits.pids, name);
      assert.equal(service.read_only, true, name);
      assert.deepEqual(service.cap_drop, ['ALL'], name);
      assert.deepEqual(service.security_opt, ['no-new-privileges:true'], name);
      if (name === 'nats-volume') continue;
      assert.ok(service.healthcheck.test.length > 0, name);
      assert.doesNotMatch(service.user, /^0/, name);
      assert.equal(service.privileged, undefined);
      assert.equal(service.cap_add, undefined);
    }
    assert.equal(compose.networks.bus.internal, true);
    assert.equal(compose.networks.database.internal, true);
  });

  test('keep to the restricted profile in every pod, with requests, limits and probes', () => {
    assert.equal(
      find('Namespace', 'guardian').metadata.labels['pod-security.kubernetes.io/enforce'],
      'restricted',
    );
    assert.deepEqual(workloads.map(({ kind, name }) => `${kind} ${name}`).sort(), [
      'Deployment guardian-worker',
      'StatefulSet guardian',
      'StatefulSet nats',
      'StatefulSet postgres',
    ]);
    for (const { name, pod, containers, initContainers } of workloads) {
      assert.equal(pod.securityContext.runAsNonRoot, true, name);
      assert.ok(pod.securityContext.runAsUser > 0, name);
      assert.equal(pod.securityContext.seccompProfile.type, 'RuntimeDefault', name);
      assert.equal(pod.automountServiceAccountToken, false, name);
      assert.equal(pod.enableServiceLinks, false, name);
      for (const key of ['hostNetwork', 'hostPID', 'hostIPC']) assert.equal(pod[key], undefined, name);
      const kinds = ['configMap', 'secret', 'emptyDir'];
      assert.ok((pod.volumes as Yaml[]).every((volume) => kinds.some((kind) => volume[kind] !== undefined)));
      for (const container of [...initContainers, ...containers]) restricted(container);
      for (const container of containers) {
        for (const probe of [container.startupProbe, container.livenessProbe, container.readinessProbe]) {
          assert.ok(probe?.httpGet !== undefined || probe?.exec !== undefined, `${name}: a probe is missing`);
        }
      }
    }
    const { spec } = find('StatefulSet', 'guardian');
    assert.equal(spec.replicas, 1, 'one process owns the state');
  });

  test('open the network only where somebody listens, and to those who call', () => {
    const policies = manifests.filter(({ kind }) => kind === 'NetworkPolicy');
    const deny = find('NetworkPolicy', 'deny-by-default').spec;
    assert.deepEqual(deny, { podSelector: {}, policyTypes: ['Ingress', 'Egress'] });
    const listening = (selector: Yaml, port: number) =>
      workloads.some(
        ({ labels, containers }) =>
          selects(selector, labels) &&
          containers.some(({ ports = [] }) => ports.some(({ containerPort }) => containerPort === port)),
      );
    for (const { metadata, spec } of policies) {
      const { podSelector, ingress = [], egress = [] } = spec;
      for (const { from, ports } of ingress) {
        assert.ok(from.length > 0, metadata.name);
        for (const { port } of ports) assert.ok(listening(podSelector, port), `${metadata.name}: ${port}`);
      }
      for (const { to, ports } of egress) {
        for (const { podSelector: callee, namespaceSelector } of to) {
          if (namespaceSelector !== undefined) continue;
          for (const { port } of ports) assert.ok(listening(callee, port), `${metadata.name}: ${port}`);
        }
      }
    }
    // Every way out to a service of ours has its way in there.
    for (const caller of workloads) {
      for (const { spec } of policies.filter((each) => selects(each.spec.podSelector, caller.labels))) {
        for (const { to, ports } of spec.egress ?? []) {
          for (const callee of workloads.filter(({ labels }) => selects(to[0].podSelector, labels))) {
            const isOpen = policies.some(
              (each) =>
                selects(each.spec.podSelector, callee.labels) &&
                (each.spec.ingress ?? []).some(
                  (rule: Yaml) =>
                    rule.from.some((peer: Yaml) => selects(peer.podSelector, caller.labels)) &&
                    rule.ports.some(({ port }: { port: number }) => port === ports[0].port),
                ),
            );
            assert.ok(isOpen, `${caller.name} -> ${callee.name}`);
          }
        }
      }
    }
  });

  test('select pods that are there', () => {
    for (const { kind, metadata, spec } of manifests) {
      const at = `${kind} ${metadata.name}`;
      if (kind === 'Service') {
        const target = workloads.find(({ labels }) => selects({ matchLabels: spec.selector }, labels));
        const names = target?.containers.flatMap(({ ports = [] }) => ports.map(({ name }) => name)) ?? [];
        for (const { targetPort } of spec.ports) assert.ok(names.includes(targetPort), at);
      } else if (kind === 'PodDisruptionBudget') {
        assert.ok(
          workloads.some(({ labels }) => selects(spec.selector, labels)),
          at,
        );
      } else if (kind === 'HorizontalPodAutoscaler') {
        const { scaleTargetRef, minReplicas, maxReplicas } = spec;
        assert.ok(find(scaleTargetRef.kind, scaleTargetRef.name).spec.replicas === undefined, at);
        assert.ok(minReplicas >= 2 && maxReplicas > minReplicas, at);
      } else if (kind === 'StatefulSet' || kind === 'Deployment') {
        assert.ok(selects(spec.selector, spec.template.metadata.labels), at);
        if (kind === 'StatefulSet') find('Service', spec.serviceName);
        find('ServiceAccount', spec.template.spec.serviceAccountName);
      }
      if (kind !== 'Namespace') assert.equal(metadata.namespace, 'guardian', at);
    }
  });

  test('give nats-server a configuration that it takes', (t) => {
    if (!requireTool(t, 'nats-server')) return;
    const { folder } = madeSecrets();
    const root = join(folder, '..');
    t.after(() => rmSync(root, { recursive: true }));
    mkdirSync(join(root, 'etc/nats'), { recursive: true });
    mkdirSync(join(root, 'run'));
    execFileSync('mv', [join(folder, 'nats'), join(root, 'run/secrets')]);
    const text = readDeployed('nats.conf')
      .replaceAll('"/run/', `"${root}/run/`)
      .replace('"/data"', `"${root}/data"`);
    const check = (conf: string) => {
      const file = join(root, 'etc/nats/nats.conf');
      writeFileSync(file, conf);
      return spawnSync('nats-server', ['-t', '-c', file], { encoding: 'utf8' });
    };
    const { status, stderr } = check(text);
    assert.equal(status, 0, stderr);
    assert.notEqual(check(text.replace('users.conf', 'nobody.conf')).status, 0);
  });
});

function restricted({ name, securityContext, resources }: Container): void {
  assert.equal(securityContext?.allowPrivilegeEscalation, false, name);
  assert.equal(securityContext.readOnlyRootFilesystem, true, name);
  assert.deepEqual(securityContext.capabilities, { drop: ['ALL'] }, name);
  for (const key of ['cpu', 'memory']) {
    assert.ok(resources?.requests[key] !== undefined, `${name}: request of ${key}`);
    assert.ok(resources.limits[key] !== undefined, `${name}: limit of ${key}`);
  }
}
