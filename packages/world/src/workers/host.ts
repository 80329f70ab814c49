import { type Demonstration, type DemonstrationOptions, demonstrate } from '../demonstrate.js';
import type {
  Environment,
  EnvironmentFeature,
  EnvironmentInfo,
  Observation,
  StepOptions,
  StepResult,
} from '../environment.js';
import { type EnvironmentSpec, makeEnvironment } from '../make-environment.js';

/** The constant properties of an environment. */
export interface EnvironmentDescription {
  fps: number;
  maxSteps: number;
  task: string;
  instruction: string;
  robotType: string;
  observationFeatures: Readonly<Record<string, EnvironmentFeature>>;
  actionFeature: EnvironmentFeature;
}

/** Index of an environment in a host. */
type Slot = number;

/** The environments of one thread; every method takes and returns plain data. */
export class EnvironmentHost {
  readonly #environments = new Map<Slot, Environment>();
  readonly #experts = new Map<string, Environment>();

  async open(slot: Slot, spec: EnvironmentSpec): Promise<EnvironmentDescription> {
    this.#environments.get(slot)?.dispose();
    const environment = await makeEnvironment(spec);
    this.#environments.set(slot, environment);
    return describe(environment);
  }

  reset(seeds: readonly (readonly [Slot, number])[]): { observation: Observation; info: EnvironmentInfo }[] {
    return seeds.map(([slot, seed]) => this.#at(slot).reset(seed));
  }

  step(actions: readonly (readonly [Slot, ArrayLike<number>])[], options?: StepOptions): StepResult[] {
    return actions.map(([slot, action]) => this.#at(slot).step(action, options));
  }

  render(slots: readonly Slot[], width: number, height: number): Uint8Array[] {
    return slots.map((slot) => this.#at(slot).render(width, height));
  }

  /** An expert's episode, in an environment that is kept for the next one. */
  async demonstrate(spec: EnvironmentSpec, options: DemonstrationOptions): Promise<Demonstration> {
    const key = JSON.stringify(spec);
    const environment = this.#experts.get(key) ?? (await makeEnvironment(spec));
    this.#experts.set(key, environment);
    return demonstrate(environment, options);
  }

  close(): void {
    for (const environments of [this.#environments, this.#experts] as Map<unknown, Environment>[]) {
      for (const environment of environments.values()) environment.dispose();
      environments.clear();
    }
  }

  #at(slot: Slot): Environment {
    return this.#environments.get(slot)!;
  }
}

/** The constant properties of an environment. */
export function describe(environment: Environment): EnvironmentDescription {
  const { fps, maxSteps, task, instruction, robotType, observationFeatures, actionFeature } = environment;
  return { fps, maxSteps, task, instruction, robotType, observationFeatures, actionFeature };
}
