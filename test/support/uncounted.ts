import { stopCoverage } from 'node:v8';

/** Importing this leaves a test file out of the coverage: it trains on whole data sets, which counting makes twice as slow. */
stopCoverage();
