import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parse, parseAllDocuments } from 'yaml';

export const DEPLOY_FOLDER = fileURLToPath(new URL('../../deploy', import.meta.url));

/** A value of a YAML document that tests walk through; what is not there is undefined. */
// biome-ignore lint/suspicious/noExplicitAny: the published schemas say what it is, in test/conformance/deploy.test.ts
export type Yaml = any;

export interface Container {
  readonly name: string;
  readonly image: string;
  readonly command?: readonly string[];
  readonly args?: readonly string[];
  readonly ports?: readonly { readonly name: string; readonly containerPort: number }[];
  readonly resources?: Yaml;
  readonly securityContext?: Yaml;
  readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
  readonly startupProbe?: Yaml;
  readonly livenessProbe?: Yaml;
  readonly readinessProbe?: Yaml;
}

/** What a StatefulSet or a Deployment makes. */
export interface Workload {
  readonly kind: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly pod: Yaml;
  readonly containers: readonly Container[];
  readonly initContainers: readonly Container[];
}

export function readDeployed(path: string): string {
  return readFileSync(join(DEPLOY_FOLDER, path), 'utf8');
}

/** The compose file with its anchors merged in. */
export function readCompose(): Yaml {
  return parse(readDeployed('compose.yml'), { merge: true });
}

/** Every document of the manifests, by the order that kustomization.yaml gives. */
export function readManifests(): readonly Yaml[] {
  const { resources } = parse(readDeployed('kubernetes/kustomization.yaml')) as { resources: string[] };
  const files = readdirSync(join(DEPLOY_FOLDER, 'kubernetes')).filter(
    (name) => name !== 'kustomization.yaml',
  );
  if (files.sort().join() !== [...resources].sort().join()) {
    throw new Error(`kustomization.yaml names ${resources}, the folder holds ${files}`);
  }
  return resources.flatMap((name) =>
    parseAllDocuments(readDeployed(`kubernetes/${name}`)).map((document) => document.toJS()),
  );
}

export function workloadsOf(manifests: readonly Yaml[]): readonly Workload[] {
  return manifests
    .filter(({ kind }) => kind === 'StatefulSet' || kind === 'Deployment')
    .map(({ kind, metadata, spec }) => ({
      kind,
      name: metadata.name,
      labels: spec.template.metadata.labels,
      pod: spec.template.spec,
      containers: spec.template.spec.containers,
      initContainers: spec.template.spec.initContainers ?? [],
    }));
}

/** Whether a selector's labels are all among a pod's. */
export function selects(selector: Yaml, labels: Readonly<Record<string, string>>): boolean {
  const wanted = Object.entries(selector.matchLabels ?? {}).every(([key, value]) => labels[key] === value);
  const expressions = (selector.matchExpressions ?? []) as readonly {
    key: string;
    operator: string;
    values: string[];
  }[];
  return (
    wanted &&
    expressions.every(({ key, operator, values }) => operator === 'In' && values.includes(labels[key] ?? ''))
  );
}
