const [WIDTH, FEEDFORWARD, BLOCKS] = [512, 2960, 13];

/** Shapes of 195 tensors with 53 million elements: 13 Transformer blocks of about ACT's size. */
export const shapes = Array.from({ length: BLOCKS }, () => [
  ...[[3 * WIDTH, WIDTH], [3 * WIDTH], [WIDTH, WIDTH], [WIDTH]],
  ...[[FEEDFORWARD, WIDTH], [FEEDFORWARD], [WIDTH, FEEDFORWARD], [WIDTH]],
  ...Array.from({ length: 7 }, () => [WIDTH]),
]).flat();
