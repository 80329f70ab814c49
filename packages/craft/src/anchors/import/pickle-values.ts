/** A tensor as a pickle describes it: a view of a storage that lies elsewhere. */
export interface PickledTensor {
  readonly kind: 'tensor';
  readonly storage: PickledStorage;
  /** In elements. */
  readonly offset: number;
  readonly shape: readonly number[];
  readonly stride: readonly number[];
}

/** A storage as a pickle names it. */
export interface PickledStorage {
  readonly kind: 'storage';
  /** `torch.FloatStorage`, … */
  readonly type: string;
  readonly key: string;
  readonly elements: number;
}

/** A class or function that a pickle names; it is never run. */
export interface PickledName {
  readonly kind: 'name';
  readonly name: string;
}

export interface PickledTuple {
  readonly kind: 'tuple';
  readonly items: readonly PickleValue[];
}

/** What a pickle may hold. dict and OrderedDict are a Map, lists arrays. */
export type PickleValue =
  | null
  | boolean
  | number
  | string
  | PickleValue[]
  | Map<string | number, PickleValue>
  | PickledTuple
  | PickledTensor
  | PickledStorage
  | PickledName;

/** Whether a value is one of the objects above. */
export function isKind<K extends 'tuple' | 'tensor' | 'storage' | 'name'>(
  value: PickleValue,
  kind: K,
): value is Extract<PickleValue, { kind: K }> {
  return typeof value === 'object' && value !== null && 'kind' in value && value.kind === kind;
}
