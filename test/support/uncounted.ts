import { stopCoverage } from 'node:v8';

/** Importing this leaves a test file out of the coverage: counting makes it twice as slow, and what it runs has unit tests. */
stopCoverage();
