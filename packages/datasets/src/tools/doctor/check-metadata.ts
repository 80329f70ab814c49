import { existsSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { CraftError } from '@craft-ft/torch';
import { parseJson, readTextIfPresent } from '../../dataset/files.js';
import type { LeRobotDatasetMetadata } from '../../dataset/metadata.js';
import type { Findings } from './finding.js';

const again = 'download the file again';

/** Files of meta/ without content: a download or a recording that was cut off, or a full disk. */
export function checkEmptyFiles(findings: Findings): void {
  const meta = join(findings.root, 'meta');
  if (!existsSync(meta)) return;
  for (const name of readdirSync(meta, { recursive: true, encoding: 'utf8' }).sort()) {
    const stat = statSync(join(meta, name));
    if (stat.isFile() && stat.size === 0) {
      findings.add('FILE_EMPTY', join(meta, name), 'the file is empty', { fix: again });
    }
  }
}

/** What the metadata says about itself: totals, episodes, tasks, path templates. Returns whether the paths can be used. */
export function checkMetadata(metadata: LeRobotDatasetMetadata, findings: Findings): boolean {
  checkTotals(metadata, findings);
  checkEpisodes(metadata, findings);
  checkTasks(metadata, findings);
  return checkPaths(metadata, findings);
}

function checkTotals({ root, episodes, tasks }: LeRobotDatasetMetadata, findings: Findings): void {
  const path = join(root, 'meta', 'info.json');
  const raw = parseJson(readTextIfPresent(path) ?? '', path) as Record<string, unknown>;
  for (const [key, found] of Object.entries(actualTotals(episodes, tasks))) {
    if (raw[key] === undefined || raw[key] === found) continue;
    findings.add('TOTALS', path, `${key} is ${raw[key]}, the metadata lists ${found}`, {
      fix: 'craft dataset doctor --fix writes the right number',
      fixable: true,
    });
  }
}

/** The counts of info.json as the other metadata files have them. */
export function actualTotals(
  episodes: LeRobotDatasetMetadata['episodes'],
  tasks: LeRobotDatasetMetadata['tasks'],
): Record<'total_episodes' | 'total_frames' | 'total_tasks', number> {
  return {
    total_episodes: episodes.length,
    total_frames: episodes.reduce((sum, episode) => sum + episode.length, 0),
    total_tasks: tasks.size,
  };
}

function checkEpisodes(
  { episodes, episodesSource, version }: LeRobotDatasetMetadata,
  findings: Findings,
): void {
  let from = 0;
  episodes.forEach((episode, i) => {
    const { episodeIndex } = episode;
    const previous = episodes[i - 1]?.episodeIndex ?? -1;
    if (episodeIndex !== previous + 1) {
      const which =
        episodeIndex === previous + 2
          ? `episode ${previous + 1}`
          : `episodes ${previous + 1} to ${episodeIndex - 1}`;
      findings.add(
        'EPISODE_NUMBERS',
        episodesSource,
        `${which} missing: LeRobot looks episodes up by position`,
        {
          episode: episodeIndex,
          fix: 'craft dataset convert numbers the episodes anew',
        },
      );
    }
    if (version === '3.0' && episode.fromIndex !== from) {
      findings.add(
        'EPISODE_RANGE',
        episodesSource,
        `dataset_from_index is ${episode.fromIndex}, the episodes before have ${from} frames`,
        { episode: episodeIndex, fix: again },
      );
    }
    from = episode.fromIndex + episode.length;
  });
}

function checkTasks({ tasks, version }: LeRobotDatasetMetadata, findings: Findings): void {
  const numbers = [...tasks.keys()];
  const wrong = numbers.findIndex((number, i) => number !== i);
  if (wrong === -1) return;
  const file = version === '3.0' ? 'meta/tasks.parquet' : 'meta/tasks.jsonl';
  findings.add(
    'TASK_NUMBERS',
    file,
    `row ${wrong} has task_index ${numbers[wrong]}: LeRobot looks tasks up by position`,
    {
      fix: 'craft dataset convert numbers the tasks anew',
    },
  );
}

function checkPaths(metadata: LeRobotDatasetMetadata, findings: Findings): boolean {
  const first = metadata.episodes[0];
  if (first === undefined) return true;
  const paths = [
    () => metadata.dataPath(first),
    ...Object.keys(first.videos).map((key) => () => metadata.videoPath(first, key)),
  ];
  for (const path of paths) {
    try {
      path();
    } catch (error) {
      if (!(error instanceof CraftError) || error.code !== 'DATASET_PATH_INVALID') throw error;
      findings.addError('PATH_ESCAPES', 'meta/info.json', error, {
        fix: 'correct data_path and video_path by hand; do not trust a dataset from elsewhere that has such a path',
      });
      return false;
    }
  }
  return true;
}
