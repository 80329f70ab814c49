import { wilsonInterval } from '@craft-ft/policies';
import type { Evaluation } from '@craft-ft/world';
import { NEW_TASK, OLD_TASK } from './settings.js';

/** Successes out of a number of episodes. */
export interface Rate {
  successes: number;
  episodes: number;
}

/** A policy's results when asked to do the old task and the new task. */
export interface PolicyResult {
  policy: string;
  red: Rate;
  blue: Rate;
  /** Videos of the first episode of each task; null if there is none. */
  videos: { red: string | null; blue: string | null };
}

/** All policies of one seed: trained on red, plain, replay, CRaFT. */
export interface SeedResult {
  seed: number;
  policies: PolicyResult[];
}

/** @throws if the evaluation lacks a task; a demo needs both */
export function policyResult(policy: string, { per_task }: Evaluation): PolicyResult {
  const find = (name: string) => per_task.find(({ task }) => task === name)!;
  const rate = (name: string): Rate => {
    const { successes, n_episodes: episodes } = find(name);
    return { successes, episodes };
  };
  const video = (name: string) => find(name).per_episode[0]?.video ?? null;
  return {
    policy,
    red: rate(OLD_TASK),
    blue: rate(NEW_TASK),
    videos: { red: video(OLD_TASK), blue: video(NEW_TASK) },
  };
}

/** Sums the results of several seeds, policy by policy. */
export function pooled(seeds: readonly SeedResult[]): Pick<PolicyResult, 'policy' | 'red' | 'blue'>[] {
  const sum = (rates: readonly Rate[]): Rate => ({
    successes: rates.reduce((total, { successes }) => total + successes, 0),
    episodes: rates.reduce((total, { episodes }) => total + episodes, 0),
  });
  return seeds[0]!.policies.map(({ policy }, i) => ({
    policy,
    red: sum(seeds.map(({ policies }) => policies[i]!.red)),
    blue: sum(seeds.map(({ policies }) => policies[i]!.blue)),
  }));
}

const COLUMN = 26;

/** The table as text: a line per policy, with 95 % intervals. */
export function tableLines(policies: readonly Pick<PolicyResult, 'policy' | 'red' | 'blue'>[]): string[] {
  const width = Math.max(...policies.map(({ policy }) => policy.length)) + 3;
  const head = `${''.padEnd(width)}${'asked for red'.padEnd(COLUMN)}asked for blue`;
  return [
    head,
    ...policies.map((row) => `${row.policy.padEnd(width)}${cell(row.red).padEnd(COLUMN)}${cell(row.blue)}`),
  ];
}

function cell({ successes, episodes }: Rate): string {
  const [low, high] = wilsonInterval(successes, episodes).map((share) => Math.round(100 * share));
  const percent = Math.round((100 * successes) / episodes);
  return `${String(percent).padStart(3)} %  (${low} to ${high} %)`;
}

const share = ({ successes, episodes }: Rate) => successes / episodes;

/** What the table shows: how much of the old skill each method keeps, and how much of plain fine-tuning's new skill it reaches. */
export function verdictLines(policies: readonly Pick<PolicyResult, 'policy' | 'red' | 'blue'>[]): string[] {
  const [base, plain, ...others] = policies;
  const part = (of: Rate, whole: Rate) =>
    whole.successes === 0 ? 'none to compare with' : `${Math.round((100 * share(of)) / share(whole))} %`;
  return [plain!, ...others].map(({ policy, red, blue }) =>
    policy === plain!.policy
      ? `${policy}: keeps ${part(red, base!.red)} of the success on red`
      : `${policy}: keeps ${part(red, base!.red)} of the success on red, reaches ${part(blue, plain!.blue)} of plain's on blue`,
  );
}
