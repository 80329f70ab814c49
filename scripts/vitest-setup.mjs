// Builds before the tests, and before every run in watch mode: worker threads and the command run compiled code.
import { buildTypeScript } from './lib/typescript.mjs';

/** @param {import('vitest/node').TestProject} project */
export default async function setup(project) {
  await buildTypeScript();
  project.onTestsRerun(buildTypeScript);
}
