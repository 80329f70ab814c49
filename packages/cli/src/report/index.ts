// Pages of numbers and curves, as single HTML files. Nothing here knows of training: other pages use the same parts.
export * from './blocks.js';
export * from './config-table.js';
export * from './downsample.js';
export * from './format.js';
export * from './html.js';
export * from './line-chart.js';
export * from './page.js';
export * from './read-run.js';
export * from './run-charts.js';
export * from './run-report.js';
export * from './summary.js';
export * from './write.js';
