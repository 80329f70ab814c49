// Entry point `@craft-ft/cli/report`: pages of numbers, curves, success rates and videos, as single HTML files.
export * from './report/blocks.js';
export * from './report/html.js';
export * from './report/line-chart.js';
export * from './report/page.js';
export * from './report/read-run.js';
export * from './report/run-charts.js';
export * from './report/run-report.js';
export * from './report/summary.js';
