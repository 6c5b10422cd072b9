import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { claimState, configFolder, stateFolder, stateLayout } from './state.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'state-'));
});

afterEach(() => rmSync(folder, { recursive: true, force: true }));

const OWNED = { code: 'storage.state-owned', retry: true };

/** A process that takes the folder, says so, and stays until it is killed. */
async function ownerProcess(state: string) {
  const module = new URL('./state.ts', import.meta.url).href;
  const code = `const { claimState } = await import(${JSON.stringify(module)});
    globalThis.owner = await claimState(${JSON.stringify(state)});
    console.log('owned'); setInterval(() => {}, 1 << 30);`;
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  await once(child.stdout, 'data');
  return child;
}

describe('state folder', () => {
  test('has one owner, and is free again after release', async () => {
    const state = join(folder, 'a', 'b');
    const owner = await claimState(state);
    assert.equal(owner.folder, state);
    assert.equal(statSync(state).mode & 0o777, 0o700);
    assert.equal(statSync(stateLayout(state).lock).mode & 0o777, 0o600);
    await assert.rejects(claimState(state), OWNED);
    await assert.rejects(claimState(state), OWNED);
    await owner.release();
    await owner.release();
    await (await claimState(state)).release();
  });

  test('is refused to this process after a refused claim of its own, and to another process', async () => {
    const owner = await claimState(folder);
    await assert.rejects(claimState(folder), OWNED);
    const code = `const { claimState } = await import(${JSON.stringify(new URL('./state.ts', import.meta.url).href)});
      await claimState(${JSON.stringify(folder)}).then(() => process.exit(0), (e) => process.exit(e.code === 'storage.state-owned' ? 7 : 8));`;
    const [exit] = await once(spawn(process.execPath, ['--input-type=module', '-e', code]), 'exit');
    assert.equal(exit, 7);
    await owner.release();
  });

  test('is freed by the kernel when its owner is killed', async () => {
    const child = await ownerProcess(folder);
    await assert.rejects(claimState(folder), OWNED);
    const gone = once(child, 'exit');
    child.kill('SIGKILL');
    await gone;
    await (await claimState(folder)).release();
  });

  test('is closed to others when it is claimed', async () => {
    chmodSync(folder, 0o755);
    const owner = await claimState(folder);
    assert.equal(statSync(folder).mode & 0o777, 0o700);
    await owner.release();
  });

  test('is refused where a file or an unusable lock stands', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    await assert.rejects(claimState(file));
    const state = join(folder, 'state');
    mkdirSync(state);
    writeFileSync(stateLayout(state).lock, 'no database at all, but long enough to be taken for a header');
    await assert.rejects(claimState(state), { code: 'storage.database-failed' });
  });
});

describe('places', () => {
  test('follow --state, GUARDIAN_STATE, XDG and the home folder, in this order', () => {
    const env = { GUARDIAN_STATE: '/g', XDG_STATE_HOME: '/x', HOME: '/h' };
    assert.equal(stateFolder(env, '/e'), '/e');
    assert.equal(stateFolder(env), '/g');
    assert.equal(stateFolder({ ...env, GUARDIAN_STATE: '' }), '/x/ai-guardian');
    assert.equal(stateFolder({ HOME: '/h' }), '/h/.local/state/ai-guardian');
    assert.equal(stateFolder({ HOME: '/h', XDG_STATE_HOME: 'relative' }), '/h/.local/state/ai-guardian');
    assert.ok(stateFolder({}).endsWith('/.local/state/ai-guardian'));
  });

  test('keep configuration apart from state', () => {
    assert.equal(configFolder({ HOME: '/h' }), '/h/.config/ai-guardian');
    assert.equal(configFolder({ XDG_CONFIG_HOME: '/c' }), '/c/ai-guardian');
  });
});
