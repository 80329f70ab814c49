import { ARM_JOINTS, toUnits } from '../../tabletop/arm.js';
import { element } from './elements.js';

/** One slider for each joint: what its servo aims at, in the units of actions. */
export class JointPanel {
  readonly #sliders: { input: HTMLInputElement; output: HTMLOutputElement }[];

  /** @param onMove called with all targets when a slider is moved */
  constructor(onMove: (target: readonly number[]) => void) {
    this.#sliders = ARM_JOINTS.map(({ name, range }, joint) => {
      const input = document.createElement('input');
      const [min, max] = range.map((limit) => String(toUnits(joint, limit)));
      Object.assign(input, { type: 'range', step: 'any', min, max, disabled: true });
      const output = document.createElement('output');
      const label = document.createElement('label');
      label.append(name.replace('_', ' '), input, output);
      element('joints').append(label);
      input.addEventListener('input', () => {
        this.#label();
        onMove(this.#sliders.map((slider) => Number(slider.input.value)));
      });
      return { input, output };
    });
  }

  set enabled(on: boolean) {
    for (const { input } of this.#sliders) input.disabled = !on;
  }

  /** @param ctrl MuJoCo's, radians */
  show(ctrl: ArrayLike<number>): void {
    this.#sliders.forEach(({ input }, joint) => {
      input.value = String(toUnits(joint, ctrl[joint]!));
    });
    this.#label();
  }

  #label(): void {
    this.#sliders.forEach(({ input, output }, joint) => {
      output.value = `${Math.round(Number(input.value))}${joint === ARM_JOINTS.length - 1 ? ' %' : '°'}`;
    });
  }
}
