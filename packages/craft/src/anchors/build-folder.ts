import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { atomicWriteFile, makeFolder } from '@craft-ft/torch';
import { CraftError } from '@craft-ft/torch/errors';
import { z } from 'zod';
import {
  ANCHOR_BUILD_FILE,
  ANCHOR_METADATA_FILE,
  type AnchorCacheMetadata,
  readAnchorMetadata,
} from './metadata.js';

const counts = z.array(z.int().min(0));

const planSchema = z.strictObject({
  fingerprint: z.string(),
  frames: z.strictObject({ dataset: counts, episode: counts, frame: counts }),
  pool_size: z.int().nullable(),
  coverage: z.strictObject({ radius: z.number(), mean: z.number() }).nullable(),
});

/** What a build has decided: which frames. Kept beside the shards until the cache is complete. */
export type BuildPlan = z.infer<typeof planSchema>;

/**
 * Looks at the folder a cache is to be built in.
 *
 * @param overwrite whether another cache in it is deleted
 * @returns the plan of an interrupted build of the same request, or of a complete one; null for a new build
 * @throws CraftError `ANCHOR_CACHE_EXISTS` for another cache or anything else in the folder
 */
export function openBuildFolder(dir: string, fingerprint: string, overwrite: boolean): BuildPlan | null {
  makeFolder(dir);
  const names = readdirSync(dir);
  for (const name of names.filter((other) => other.startsWith('.tmp-'))) rmSync(join(dir, name));
  const plan = readPlan(dir);
  if (plan?.fingerprint === fingerprint) return plan;
  const ours = names.filter(isOurs);
  const foreign = names.filter((name) => !isOurs(name) && !name.startsWith('.tmp-'));
  if (foreign.length > 0 && !names.some(isPlanFile)) {
    throw exists(
      dir,
      `it has other files (${foreign.slice(0, 3).join(', ')})`,
      'choose another --output_dir',
    );
  }
  if (ours.length > 0 && !overwrite) {
    const remedy = 'choose another --output_dir, or --overwrite to delete it';
    throw exists(dir, 'it has an anchor cache of another request', remedy);
  }
  for (const name of ours) rmSync(join(dir, name));
  return null;
}

function exists(dir: string, what: string, remedy: string): CraftError {
  return new CraftError('ANCHOR_CACHE_EXISTS', `${dir}: ${what}; ${remedy}`);
}

function isPlanFile(name: string): boolean {
  return name === ANCHOR_METADATA_FILE || name === ANCHOR_BUILD_FILE;
}

function isOurs(name: string): boolean {
  return isPlanFile(name) || /^shard_\d{5}\.safetensors$/.test(name);
}

function readPlan(dir: string): BuildPlan | null {
  if (existsSync(join(dir, ANCHOR_METADATA_FILE))) {
    let metadata: AnchorCacheMetadata;
    try {
      metadata = readAnchorMetadata(dir);
    } catch (error) {
      if (error instanceof CraftError) return null;
      throw error;
    }
    const { fingerprint, frames, selection } = metadata;
    const { pool_size, coverage } = selection;
    return frames === null ? null : { fingerprint, frames, pool_size, coverage };
  }
  try {
    return planSchema.parse(JSON.parse(readFileSync(join(dir, ANCHOR_BUILD_FILE), 'utf8')));
  } catch {
    // Missing or truncated: start the build over.
    return null;
  }
}

export function savePlan(dir: string, plan: BuildPlan): void {
  atomicWriteFile(join(dir, ANCHOR_BUILD_FILE), JSON.stringify(plan));
}

/** Writes the metadata, which makes the cache complete. */
export function finishBuild(dir: string, metadata: AnchorCacheMetadata): void {
  atomicWriteFile(join(dir, ANCHOR_METADATA_FILE), `${JSON.stringify(metadata, null, 1)}\n`);
  rmSync(join(dir, ANCHOR_BUILD_FILE), { force: true });
}
