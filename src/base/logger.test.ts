import assert from 'node:assert/strict';
import { it } from 'node:test';
import { createLogger, silentLogger } from './logger.ts';

it('writes one JSON object a line, with a UTC time and the fields given', () => {
  const lines: string[] = [];
  const log = createLogger({ level: 'info', write: (line) => lines.push(line) });
  log.info({ model: 'flow', rows: 3 }, 'scored');
  log.debug({}, 'not at this level');
  assert.equal(lines.length, 1);
  const line = JSON.parse(lines[0] as string);
  assert.equal(line.msg, 'scored');
  assert.equal(line.model, 'flow');
  assert.match(line.time, /^\d{4}-\d\d-\d\dT.*Z$/);
  assert.equal(line.hostname, undefined);
});

it('has a logger that says nothing', () => {
  for (const level of ['error', 'warn', 'info', 'debug'] as const) silentLogger[level]({}, 'x');
});
