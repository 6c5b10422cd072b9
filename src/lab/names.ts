import type { SeededRandom } from '../base/index.ts';

const WORDS = [
  'alpha',
  'cdn',
  'img',
  'api',
  'static',
  'mail',
  'edge',
  'assets',
  'login',
  'data',
  'files',
  'news',
  'video',
  'play',
  'shop',
  'sync',
  'push',
  'update',
  'time',
  'cloud',
];
const ENDS = [
  'example.com',
  'example.net',
  'example.org',
  'shop.test',
  'media.test',
  'corp.test',
  'cdn.test',
];
const LETTERS = 'abcdefghijklmnopqrstuvwxyz234567';

/** A host name of ordinary shape and length. */
export function hostName(random: SeededRandom): string {
  const depth = random.integer(1, 3);
  const labels: string[] = [];
  for (let i = 0; i < depth; i++)
    labels.push(random.pick(WORDS) + (random.chance(0.3) ? random.integer(1, 99) : ''));
  return `${labels.join('-')}.${random.pick(WORDS)}.${random.pick(ENDS)}`;
}

/** A name with about `bytes` characters of encoded data in front: hashes, telemetry, or a tunnel. */
export function encodedName(random: SeededRandom, bytes: number, zone = 't.example.net'): string {
  const labels: string[] = [];
  let left = Math.max(1, Math.min(bytes, 230 - zone.length));
  while (left > 0) {
    const size = Math.min(left, 60);
    let label = '';
    for (let i = 0; i < size; i++) label += LETTERS[random.uint32() & 31];
    labels.push(label);
    left -= size + 1;
  }
  return `${labels.join('.')}.${zone}`;
}
