import { posix } from 'node:path';

/** Floors of the house: imports go strictly downwards, rooms on one floor do not know each other. */
export const FLOORS: Readonly<Record<string, number>> = {
  cli: 9,
  server: 8,
  guardian: 7,
  'configuration.ts': 6,
  recovery: 6,
  compliance: 6,
  alerts: 5,
  training: 4,
  inference: 4,
  response: 4,
  registry: 3,
  features: 3,
  intel: 3,
  lab: 3,
  audit: 2,
  storage: 2,
  bus: 2,
  models: 2,
  traffic: 2,
  crypto: 1,
  monitor: 1,
  base: 0,
  client: 0,
};

export interface Import {
  readonly specifier: string;
  /** `url` is `new URL('./worker.ts', import.meta.url)`: it counts for the floors, never for cycles. */
  readonly kind: 'static' | 'dynamic' | 'url';
}

const STATIC =
  /^(?:import|export)\b((?:[\w\s{},*$]|\/\*.*?\*\/|\/\/.*)*?)\bfrom\s*['"]([^'"\n]+)['"]|^import\s*['"]([^'"\n]+)['"]/gm;
const DYNAMIC = /\bimport\(\s*(?:\/\*.*?\*\/\s*)?['"`]([^'"`\n]+)['"`]/g;
const WORKER_URL = /\bnew URL\(\s*['"]([^'"\n]+\.ts)['"],\s*import\.meta\.url/g;
const REEXPORT = /^export (?:type )?\{[^}]*\} from '[^'\n]+';$/gm;
const COMMENT = /\/\*[\s\S]*?\*\/|\/\/.*/g;

/**
 * Every import of a source file: static, re-exports, dynamic with a literal name, and worker URLs. It rests
 * on the formatter: a static import begins its line. Throws where a line begins with `import` and none was read.
 */
export function readImports(source: string): Import[] {
  const statics = [...source.matchAll(STATIC)].map((match) => match[2] ?? match[3] ?? '');
  const begun = source.match(/^import\b(?!\s*[(.])/gm)?.length ?? 0;
  const read = [...source.matchAll(STATIC)].filter(([text]) => text.startsWith('import')).length;
  if (read !== begun) throw new Error(`read ${read} of ${begun} import statements`);
  return [
    ...statics.map((specifier): Import => ({ specifier, kind: 'static' })),
    ...[...source.matchAll(DYNAMIC)].map((match): Import => ({ specifier: match[1] ?? '', kind: 'dynamic' })),
    ...[...source.matchAll(WORKER_URL)].map((match): Import => ({ specifier: match[1] ?? '', kind: 'url' })),
  ];
}

/**
 * What is wrong with the imports of a tree, a sentence a finding. Keys are paths from the repository's root
 * with forward slashes (`src/base/errors.ts`), values the sources.
 */
export function findViolations(files: ReadonlyMap<string, string>): string[] {
  const findings: string[] = [];
  const graph = new Map<string, string[]>();
  for (const [path, source] of files) {
    const room = roomOf(path);
    if (FLOORS[room] === undefined) {
      findings.push(`${path}: ${room} is not in the table of floors`);
      continue;
    }
    if (posix.basename(path) === 'index.ts' && !isReexportsOnly(source)) {
      findings.push(`${path}: an index.ts only re-exports, by name`);
    }
    const edges: string[] = [];
    for (const { specifier, kind } of readImportsOf(path, source, findings)) {
      const target = specifier.startsWith('.') ? posix.join(posix.dirname(path), specifier) : undefined;
      const finding = judge(path, specifier, target, files);
      if (finding !== undefined) findings.push(`${path}: ${finding}`);
      if (target !== undefined && kind !== 'url' && files.has(target)) edges.push(target);
    }
    graph.set(path, edges);
  }
  for (const cycle of findCycles(graph)) findings.push(`cycle: ${cycle.join(' -> ')}`);
  return findings;
}

function readImportsOf(path: string, source: string, findings: string[]): Import[] {
  try {
    return readImports(source);
  } catch (error) {
    findings.push(`${path}: ${error instanceof Error ? error.message : String(error)}`);
    return [];
  }
}

function judge(
  path: string,
  specifier: string,
  target: string | undefined,
  files: ReadonlyMap<string, string>,
): string | undefined {
  const room = roomOf(path);
  const isTest = path.endsWith('.test.ts');
  if (target === undefined) {
    return room === 'client' && !isTest ? `client imports nothing, but ${specifier}` : undefined;
  }
  if (target.startsWith('test/') || target.startsWith('bench/')) {
    if (isTest && (target.startsWith('test/support/') || target.startsWith('test/twins/'))) return undefined;
    return `imports ${target}, which is not part of the product`;
  }
  if (!target.startsWith('src/')) {
    return target.endsWith('.ts') ? `imports ${target}, which is outside src` : undefined;
  }
  const other = roomOf(target);
  if (other === room) {
    if (files.has(target) || !target.endsWith('.ts')) return undefined;
    return `imports ${target}, which does not exist`;
  }
  const from = FLOORS[room] ?? -1;
  const to = FLOORS[other];
  if (to === undefined) return `imports ${target}, whose room is not in the table of floors`;
  if (to >= from) return `floor ${from} (${room}) imports floor ${to} (${other})`;
  const door = other.endsWith('.ts') ? `src/${other}` : `src/${other}/index.ts`;
  if (target !== door) return `imports ${target} instead of ${door}`;
  return files.has(target) ? undefined : `imports ${target}, which does not exist`;
}

/** `src/base/errors.ts` is in `base`; a file that lies in src itself is a room of its own, its test included. */
function roomOf(path: string): string {
  const [, first = ''] = path.split('/');
  return first.replace(/\.test\.ts$/, '.ts');
}

function isReexportsOnly(source: string): boolean {
  return source.replace(COMMENT, '').replace(REEXPORT, '').trim() === '';
}

function findCycles(graph: ReadonlyMap<string, readonly string[]>): string[][] {
  const cycles: string[][] = [];
  const state = new Map<string, 'open' | 'done'>();
  const trail: string[] = [];
  const visit = (path: string): void => {
    state.set(path, 'open');
    trail.push(path);
    for (const next of graph.get(path) ?? []) {
      if (state.get(next) === 'open') cycles.push([...trail.slice(trail.indexOf(next)), next]);
      else if (!state.has(next)) visit(next);
    }
    trail.pop();
    state.set(path, 'done');
  };
  for (const path of graph.keys()) if (!state.has(path)) visit(path);
  return cycles;
}
