import { enableCompileCache } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

// As `bin/guardian.js` does, and JavaScript like it: what takes types out of TypeScript is not even loaded then.
enableCompileCache(join(tmpdir(), 'guardian-bench-compiled'));
await import('./flow-features.ts');
