export { Cgroup, type CgroupReading } from './cgroup.ts';
export { MONITOR_ERRORS, MonitorError, type MonitorErrorCode } from './errors.ts';
export { Monitor, type MonitorEvents, type MonitorOptions } from './monitor.ts';
export { type ReaderOptions, type Reading, ReadingSource } from './reading.ts';
export {
  type Measure,
  type MonitorConfig,
  monitorConfigSchema,
  readMonitorConfig,
  THROTTLE_LEVELS,
  Throttle,
  type ThrottleLevel,
  type ThrottleState,
} from './throttle.ts';
