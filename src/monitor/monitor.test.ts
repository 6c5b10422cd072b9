import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { suite, type TestContext, test } from 'node:test';
import { ManualClock, systemClock } from '../base/index.ts';
import { Cgroup } from './cgroup.ts';
import { Monitor } from './monitor.ts';
import { ReadingSource } from './reading.ts';
import { readMonitorConfig, type ThrottleState } from './throttle.ts';

const MIB = 1024 * 1024;

interface Machine {
  readonly root: string;
  write(files: Readonly<Record<string, string>>): void;
}

/** A made-up machine in a folder. Files are rewritten in place, as the kernel would. */
function machine(t: TestContext, files: Readonly<Record<string, string>>): Machine {
  const root = mkdtempSync(join(tmpdir(), 'monitor-'));
  t.after(() => rmSync(root, { recursive: true }));
  const write = (more: Readonly<Record<string, string>>) => {
    for (const [path, text] of Object.entries(more)) {
      mkdirSync(dirname(join(root, path)), { recursive: true });
      writeFileSync(join(root, path), text);
    }
  };
  write(files);
  return { root, write };
}

const selfStat = (user: number, system: number) =>
  `42 (a (odd) name) S 1 42 42 0 -1 4194560 100 0 0 0 ${user} ${system} 0 0 20 0 11 0 100 1000 200`;
const stat = (busy: number, idle: number) =>
  `cpu  ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu0 ${busy} 0 0 ${idle} 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0 0 0\nintr 1\n`;

const BARE = {
  'proc/self/stat': selfStat(100, 50),
  'proc/self/status': 'Name:\tnode\nVmRSS:\t  2048 kB\nThreads:\t1\n',
  'proc/stat': stat(1_000, 9_000),
  'proc/meminfo': 'MemTotal:  4096000 kB\nMemFree:  100 kB\nMemAvailable:  1024000 kB\n',
};

suite('a reading', () => {
  test('gives shares since the reading before, and what can still be taken', (t) => {
    const { root, write } = machine(t, BARE);
    const clock = new ManualClock(5_000);
    const source = new ReadingSource({ clock, root, diskPath: root, takeLoopDelay: () => 7 });
    t.after(() => source.close());
    clock.advance(2_000);
    write({ 'proc/self/stat': selfStat(180, 70), 'proc/stat': stat(1_300, 9_100) });
    const { diskFreeBytes, ...reading } = source.read();
    assert.deepEqual(reading, {
      time: 7_000,
      processCpuCores: 0.5,
      machineCpuShare: 0.75,
      cpuCores: 2,
      rssBytes: 2 * MIB,
      memoryAvailableBytes: 1_000 * MIB,
      eventLoopDelayMs: 7,
      gpuBusyShare: Number.NaN,
      gpuMemoryFreeBytes: Number.NaN,
    });
    assert.ok(diskFreeBytes > 0);
  });

  test('names the busiest and the fullest GPU of those that say anything', (t) => {
    const { root, write } = machine(t, {
      ...BARE,
      'sys/class/drm/card0/device/gpu_busy_percent': '12\n',
      'sys/class/drm/card0/device/mem_info_vram_total': `${512 * MIB}\n`,
      'sys/class/drm/card0/device/mem_info_vram_used': `${500 * MIB}\n`,
      'sys/class/drm/card1/device/gpu_busy_percent': '97\n',
      'sys/class/drm/card1/device/mem_info_vram_total': `${4_096 * MIB}\n`,
      'sys/class/drm/card1/device/mem_info_vram_used': '0\n',
      // Of a driver that says nothing, and an output of a card.
      'sys/class/drm/card2/device/vendor': '0x10de\n',
      'sys/class/drm/card0-DP-1/device/gpu_busy_percent': '100\n',
    });
    const source = new ReadingSource({ clock: new ManualClock(0), root });
    t.after(() => source.close());
    const { gpuBusyShare, gpuMemoryFreeBytes } = source.read();
    assert.deepEqual([gpuBusyShare, gpuMemoryFreeBytes], [0.97, 12 * MIB]);
    write({ 'sys/class/drm/card1/device/gpu_busy_percent': '5 \n' });
    assert.equal(source.read().gpuBusyShare, 0.12);
  });

  test('says NaN for everything where nothing can be read', (t) => {
    const clock = new ManualClock(0);
    const source = new ReadingSource({ clock, root: '/nonexistent', diskPath: '/nonexistent' });
    t.after(() => source.close());
    clock.advance(1_000);
    const { time, ...rest } = source.read();
    assert.equal(time, 1_000);
    for (const [name, value] of Object.entries(rest)) assert.ok(Number.isNaN(value), name);
  });

  test('takes the limits of a control group, version 2', (t) => {
    const { root } = machine(t, {
      ...BARE,
      'proc/self/cgroup': '0::/app.slice\n',
      'sys/fs/cgroup/app.slice/memory.max': `${300 * MIB}\n`,
      'sys/fs/cgroup/app.slice/memory.current': `${200 * MIB}\n`,
      'sys/fs/cgroup/app.slice/memory.stat': `anon 1\ninactive_file ${50 * MIB}\n`,
      'sys/fs/cgroup/app.slice/cpu.max': '150000 100000\n',
    });
    const source = new ReadingSource({ clock: new ManualClock(), root });
    t.after(() => source.close());
    const reading = source.read();
    assert.equal(reading.memoryAvailableBytes, 150 * MIB);
    assert.equal(reading.cpuCores, 1.5);
  });
});

suite('a control group', () => {
  const cases: readonly (readonly [
    string,
    Readonly<Record<string, string>>,
    0 | 1 | 2,
    number,
    number,
    number,
  ])[] = [
    [
      'of version 1, with its path',
      {
        'proc/self/cgroup': '4:memory:/job\n3:cpu,cpuacct:/job\n0::/\n',
        'sys/fs/cgroup/memory/job/memory.limit_in_bytes': `${100 * MIB}`,
        'sys/fs/cgroup/memory/job/memory.usage_in_bytes': `${60 * MIB}`,
        'sys/fs/cgroup/memory/job/memory.stat': `inactive_file 1\ntotal_inactive_file ${20 * MIB}\n`,
        'sys/fs/cgroup/cpu/job/cpu.cfs_quota_us': '50000',
        'sys/fs/cgroup/cpu/job/cpu.cfs_period_us': '100000',
      },
      1,
      100 * MIB,
      40 * MIB,
      0.5,
    ],
    [
      'of version 1 without limits',
      {
        'proc/self/cgroup': '4:memory:/job\n',
        'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712',
        'sys/fs/cgroup/memory/memory.usage_in_bytes': '5',
        'sys/fs/cgroup/cpu/cpu.cfs_quota_us': '-1',
        'sys/fs/cgroup/cpu/cpu.cfs_period_us': '100000',
      },
      1,
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ],
    [
      'of version 2 seen from inside a container, where only the root of the mount is there',
      {
        'proc/self/cgroup': '0::/../../host/path\n',
        'sys/fs/cgroup/memory.max': `${64 * MIB}`,
        'sys/fs/cgroup/memory.current': `${10 * MIB}`,
        'sys/fs/cgroup/memory.stat': '',
        'sys/fs/cgroup/cpu.max': 'max 100000',
      },
      2,
      64 * MIB,
      10 * MIB,
      Number.NaN,
    ],
    [
      'of version 2 without limits',
      { 'proc/self/cgroup': '0::/a/b\n', 'sys/fs/cgroup/a/memory.max': 'max\n' },
      2,
      Number.NaN,
      Number.NaN,
      Number.NaN,
    ],
    ['that is not there', {}, 0, Number.NaN, Number.NaN, Number.NaN],
  ];
  for (const [name, files, version, limit, used, cores] of cases) {
    test(`is read: one ${name}`, (t) => {
      const group = new Cgroup(machine(t, files).root);
      t.after(() => group.close());
      assert.equal(group.version, version);
      assert.deepEqual(group.read(), {
        memoryLimitBytes: limit,
        memoryUsedBytes: used,
        cpuLimitCores: cores,
      });
    });
  }
});

suite('the monitor', () => {
  test('tells subscribers of readings and of changes of the level, until they leave', (t) => {
    const { root, write } = machine(t, BARE);
    const config = readMonitorConfig({ riseAfterReadings: 1, fallAfterReadings: 1 });
    const monitor = new Monitor({ config, clock: new ManualClock(), root });
    t.after(() => monitor.stop());
    let readings = 0;
    const changes: ThrottleState[] = [];
    const leave = monitor.subscribe('reading', () => readings++);
    monitor.subscribe('throttle', (state) => changes.push(state));
    monitor.tick();
    assert.deepEqual(changes, []);
    write({ 'proc/meminfo': 'MemAvailable:     1024 kB\n' });
    monitor.tick();
    leave();
    monitor.tick();
    assert.equal(readings, 2);
    assert.deepEqual(changes, [{ level: 'shed', causes: ['memoryAvailableBytes'] }]);
    assert.deepEqual(monitor.throttle, changes[0]);
    assert.equal(monitor.reading?.memoryAvailableBytes, MIB);
  });

  test('ticks by itself once started', async (t) => {
    const monitor = new Monitor({ config: readMonitorConfig({ intervalMs: 100 }), clock: systemClock });
    t.after(() => monitor.stop());
    monitor.start();
    monitor.start();
    // The monitor's own timer keeps nobody alive; this one does.
    const alive = setInterval(() => undefined, 1_000);
    const reading = await new Promise((resolve) => monitor.subscribe('reading', resolve));
    clearInterval(alive);
    assert.equal(reading, monitor.reading);
    monitor.stop();
  });

  test('prints what a reading costs on this machine', (t) => {
    const monitor = new Monitor({ config: readMonitorConfig(), clock: systemClock, diskPath: tmpdir() });
    t.after(() => monitor.stop());
    const count = 500;
    for (let i = 0; i < 50; i++) monitor.tick();
    const before = process.cpuUsage();
    for (let i = 0; i < count; i++) monitor.tick();
    const { user, system } = process.cpuUsage(before);
    const microseconds = (user + system) / count;
    t.diagnostic(
      `${microseconds.toFixed(1)} us of CPU a reading: ${(microseconds / 1e4).toFixed(4)} % of a core at one a second`,
    );
    assert.notEqual(monitor.reading, undefined);
  });
});
