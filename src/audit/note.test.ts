import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatVerifierKey, noteKey, openNote, parseNote, parseVerifierKey } from './note.ts';

/** The examples of golang.org/x/mod/sumdb/note and of C2SP signed-note and tlog-cosignature. */
const PETER = 'PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW';
const SUMDB = 'sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8';
const TEXT =
  'If you think cryptography is the answer to your problem,\n' +
  "then you don't know what your problem is.\n" +
  '\n' +
  '— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n';
const COSIGNED =
  'example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n' +
  '— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n' +
  '— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n';
const SALVATORE =
  'Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n' +
  '— quasimodo.example/salvatore NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n';

test('opens the published example of a note, and refuses it with any bit changed', () => {
  const key = parseVerifierKey(PETER);
  assert.ok(key !== undefined);
  assert.equal(formatVerifierKey(key), PETER);
  assert.equal(openNote(TEXT, [key]), TEXT.slice(0, TEXT.indexOf('\n\n') + 1));
  for (let i = 0; i < TEXT.length; i++) {
    const changed = TEXT.slice(0, i) + String.fromCharCode(TEXT.charCodeAt(i) ^ 1) + TEXT.slice(i + 1);
    assert.equal(openNote(changed, [key]), undefined, `character ${i}`);
  }
  for (let length = 0; length < TEXT.length; length++) {
    assert.equal(openNote(TEXT.slice(0, length), [key]), undefined, `cut to ${length}`);
  }
  assert.equal(openNote(TEXT, []), undefined);
});

test('reads the published verifier keys, and none with a wrong id, name, type or length', () => {
  assert.equal(parseVerifierKey(SUMDB)?.name, 'sum.golang.org');
  for (const bad of [
    PETER.replace('PeterNeumann', 'PeterNeuman'),
    PETER.replace('c74f20a3', 'c74f20a4'),
    'PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==',
    'PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    'Peter Neumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW',
    '',
  ]) {
    assert.equal(parseVerifierKey(bad), undefined, bad);
  }
  assert.equal(noteKey('name', 'no key'), undefined);
});

test('splits a note at its last empty line, and passes over the signatures of others', () => {
  assert.ok(parseNote(SALVATORE)?.body.endsWith('\n\ned è subito sera.\n'));
  const cosigned = parseNote(COSIGNED);
  assert.deepEqual(
    cosigned?.signatures.map(({ name, bytes }) => [name, bytes.length]),
    [
      ['example.com/behind-the-sofa', 64],
      ['witness.example.com/w1', 72],
    ],
  );
  // The witness of the example says when: 2023-03-20.
  assert.equal(cosigned?.signatures[1]?.bytes.readBigUInt64BE(), 1_679_315_147n);
  const key = parseVerifierKey(PETER);
  const [other = ''] = COSIGNED.split('\n').slice(-2);
  assert.ok(openNote(`${TEXT}${other}\n`, key === undefined ? [] : [key]) !== undefined);
});

test('takes no note with control characters or with more signatures than anybody needs', () => {
  assert.equal(parseNote(TEXT.replace('you', 'y\tu')), undefined);
  const [line = ''] = TEXT.split('\n').slice(-2);
  assert.ok(parseNote(TEXT + `${line}\n`.repeat(63)) !== undefined);
  assert.equal(parseNote(TEXT + `${line}\n`.repeat(64)), undefined);
});
