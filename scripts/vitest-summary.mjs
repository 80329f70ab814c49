#!/usr/bin/env node
// Prints the closing line of a test run from the report of vitest's JSON reporter.
// Usage: node scripts/vitest-summary.mjs REPORT.json
import { readFileSync } from 'node:fs';

const report = JSON.parse(readFileSync(process.argv[2] ?? '', 'utf8'));
// A test file that could not even be loaded has no tests to count, but must not look like success.
const broken = report.testResults.filter(
  (/** @type {{ status: string, assertionResults: unknown[] }} */ file) =>
    file.status === 'failed' && file.assertionResults.length === 0,
).length;
const skipped = report.numPendingTests + report.numTodoTests;
process.stdout.write(
  `${report.numPassedTests} passed, ${report.numFailedTests + broken} failed, ${skipped} skipped\n`,
);
