import assert from 'node:assert/strict';
import { Writable } from 'node:stream';
import { describe, it, mock } from 'node:test';
import { Output } from './output.ts';

class Sink extends Writable {
  text = '';
  isTTY = false;

  override _write(chunk: Buffer, _: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

function make(json: boolean, isTTY = false) {
  const stdout = new Sink();
  const stderr = new Sink();
  stdout.isTTY = isTTY;
  stderr.isTTY = isTTY;
  return { stdout, stderr, output: new Output({ json, stdout, stderr }) };
}

describe('Output', () => {
  it('writes lines for people and nothing else without --json', () => {
    const { output, stdout, stderr } = make(false);
    output.line('hello');
    output.object({ type: 'x' });
    output.note('careful');
    assert.equal(stdout.text, 'hello\n');
    assert.equal(stderr.text, 'careful\n');
  });

  it('writes one JSON object a line with --json', () => {
    const { output, stdout } = make(true);
    output.line('hello');
    output.object({ type: 'x', n: 1 });
    assert.equal(stdout.text, '{"type":"x","n":1}\n');
  });

  it('colours on a terminal only', () => {
    assert.equal(make(false).output.style('red', 'a'), 'a');
    assert.match(make(false, true).output.style('red', 'a'), /\[31ma/);
  });

  it('draws a bar on a terminal after a moment, and wipes it before the next line', () => {
    let now = 0;
    const clock = mock.method(performance, 'now', () => now);
    const { output, stderr } = make(false, true);
    const progress = output.progress('training');
    now = 500;
    progress.update(0.25);
    assert.equal(stderr.text, '');
    now = 1_000;
    progress.update(0.5, 'tree 5');
    assert.match(stderr.text, /training \[={14} {14}\] tree 5 1 s/);
    output.line('done');
    assert.ok(stderr.text.endsWith('\r\u001b[2K'));
    clock.mock.restore();
  });

  it('draws no bar where stderr is no terminal', () => {
    let now = 0;
    const clock = mock.method(performance, 'now', () => now);
    const { output, stderr } = make(false);
    const progress = output.progress('x');
    now = 5_000;
    progress.update(undefined);
    progress.done();
    assert.equal(stderr.text, '');
    clock.mock.restore();
  });
});
