import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { limitMemory, residentBytes } from './memory-limit.ts';

const PID = 4_711;
const LIMIT = 256 * 1024 * 1024;

/** A root with the files of one version of control groups, as far as they are read. */
function makeRoot(t: TestContext, files: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'groups-'));
  t.after(() => rmSync(root, { recursive: true }));
  for (const [path, content] of Object.entries(files)) {
    mkdirSync(join(root, path, '..'), { recursive: true });
    writeFileSync(join(root, path), content);
  }
  return root;
}

test('with version 1 the process goes into a group of its own below ours', (t) => {
  const own = 'sys/fs/cgroup/memory/service';
  const root = makeRoot(t, {
    'proc/self/cgroup': '4:memory:/service\n',
    [`${own}/memory.limit_in_bytes`]: '9223372036854771712\n',
  });
  mkdirSync(join(root, own, 'guardian-onnx-1'));
  assert.equal(limitMemory(PID, LIMIT, root).kind, 'cgroup');
  const read = (name: string) => readFileSync(join(root, own, `guardian-onnx-${PID}`, name), 'utf8');
  assert.equal(read('memory.limit_in_bytes'), `${LIMIT}`);
  assert.equal(read('cgroup.procs'), `${PID}`);
  assert.ok(!existsSync(join(root, own, 'guardian-onnx-1')), 'what a killed parent left is swept');
});

test('where the controller is not handed down, and where there are no groups, memory is watched', (t) => {
  const own = 'sys/fs/cgroup/service';
  const root = makeRoot(t, { 'proc/self/cgroup': '0::/service\n', [`${own}/memory.max`]: 'max\n' });
  // A real group has its files from the start; this one has none to read.
  const limit = limitMemory(PID, LIMIT, root);
  assert.equal(limit.kind, 'watch');
  assert.ok(!existsSync(join(root, own, `guardian-onnx-${PID}`)));
  assert.equal(limitMemory(PID, LIMIT, makeRoot(t, {})).kind, 'watch');
});

test('resident memory of a process is read, and of none is unknown', (t) => {
  const root = makeRoot(t, { [`proc/${PID}/status`]: 'Name:\tnode\nVmRSS:\t  2048 kB\nThreads:\t9\n' });
  assert.equal(residentBytes(PID, root), 2048 * 1024);
  assert.equal(residentBytes(1, root), undefined);
});
