import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { count, percent, printable, table } from './text.ts';

describe('text for a terminal', () => {
  it('shows control and format characters instead of obeying them', () => {
    assert.equal(printable('a\u001b[31mb'), 'a\\u{1b}[31mb');
    assert.equal(printable('x\ny\r\u202eevil'), 'x\\u{a}y\\u{d}\\u{202e}evil');
    assert.equal(printable('grün'), 'grün');
  });

  it('cuts what is too long', () => {
    assert.equal(printable('abcdef', 3), 'abc…');
  });

  it('aligns columns, numbers to the right', () => {
    assert.equal(
      table(
        ['name', 'n'],
        [
          ['a', '5'],
          ['bcdef', '1,000'],
        ],
      ),
      ['name       n', 'a          5', 'bcdef  1,000'].join('\n'),
    );
  });

  it('formats shares and counts', () => {
    assert.equal(percent(0.12345), '12.35 %');
    assert.equal(percent(Number.NaN), '-');
    assert.equal(count(1234567), '1,234,567');
  });
});
