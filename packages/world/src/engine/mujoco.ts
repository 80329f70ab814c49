import { CraftError } from '@craft-ft/torch/errors';
import load, { type MainModule, type MjModel } from '@mujoco/mujoco';

export type { DoubleBuffer, IntBuffer, MjData, MjModel } from '@mujoco/mujoco';
export type Mujoco = MainModule;

let loading: Promise<Mujoco> | undefined;

/** DeepMind's WebAssembly build of MuJoCo, loaded once per thread. */
export function loadMujoco(): Promise<Mujoco> {
  // MuJoCo's own warnings (an unstable simulation) are found in the data; nothing may write onto a program's output.
  loading ??= load({ print: () => {}, printErr: () => {} });
  return loading;
}

/**
 * Compiles a scene. The result lives on the WebAssembly heap: `delete()` it.
 *
 * @param xml MJCF
 * @param where names the scene in messages
 * @throws CraftError `MJCF_INVALID` with MuJoCo's own reason
 */
export function compileModel(mujoco: Mujoco, xml: string, where: string): MjModel {
  let model: MjModel | null;
  try {
    model = mujoco.MjModel.from_xml_string(xml);
  } catch (error) {
    const reason = (error instanceof Error ? error.message : String(error))
      .replace(/^MuJoCo Error: (Loading error: )?/, '')
      .trim()
      .replace(/\s*\n\s*/g, ', ');
    throw new CraftError('MJCF_INVALID', `${where}: the scene does not compile: ${reason}`, { cause: error });
  }
  if (model === null) throw new CraftError('MJCF_INVALID', `${where}: the scene does not compile`);
  return model;
}
