import type { WrittenSamples } from './build.js';
import type { Build } from './build-samples.js';
import type { AnchorCacheMetadata } from './metadata.js';

type Described = Pick<
  AnchorCacheMetadata,
  'tensors' | 'datasets' | 'tasks' | 'task_index' | 'images' | 'hidden' | 'feature' | 'action' | 'tokens'
>;

/** What the metadata says about the content of a finished build. */
export function describeBuild(build: Build, { rows, tensors, squares, states }: WrittenSamples): Described {
  const { source, request, policy } = build;
  const { table } = source;
  const used = [...new Set(rows.map((row) => table.task[row]!))].sort((a, b) => a - b);
  const images = Object.entries(tensors).filter(
    ([name]) => policy.config.input_features[name]?.type === 'VISUAL',
  );
  const shape = (name: string) => tensors[name]?.shape;
  const moments = (name: string) =>
    (squares[name] ?? []).map((sum) => sum / (rows.length * shape(name)!.at(-1)!));
  const [hidden, feature, action, tokens] = ['hidden', 'feature', 'action', 'token_labels'].map((name) =>
    shape(`anchor.${name}`),
  );
  const { layers, poolings } = request.features;
  const numStates = states === 0 ? null : states;
  return {
    tensors,
    datasets: source.members.map((member, i) => ({
      repo_id: member.repoId,
      revision: source.revisions[i]!,
      fps: member.fps,
      episodes: member.episodes.length,
      frames: member.length,
    })),
    tasks: used.map((task) => table.tasks[task]!),
    task_index: rows.map((row) => used.indexOf(table.task[row]!)),
    images: Object.fromEntries(
      images.map(([name, { shape: size }]) => [name, { height: size[1]!, width: size[2]! }]),
    ),
    hidden:
      hidden === undefined
        ? null
        : {
            layers: [...layers],
            poolings: [...poolings],
            hidden_size: hidden[2]!,
            num_states: numStates,
            second_moment: grouped(moments('anchor.hidden'), poolings.length),
          },
    feature:
      feature === undefined
        ? null
        : {
            layer: layers[0]!,
            pooling: poolings[0]!,
            hidden_size: feature[0]!,
            num_states: numStates,
            second_moment: moments('anchor.feature')[0]!,
          },
    action: action === undefined ? null : { chunk: action[0]!, dim: action[1]! },
    tokens: tokens === undefined ? null : { source: request.tokenSource, length: tokens[0]! },
  };
}

function grouped(values: readonly number[], size: number): number[][] {
  return Array.from({ length: values.length / size }, (_, i) => values.slice(i * size, (i + 1) * size));
}
