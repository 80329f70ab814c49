import { z } from 'zod';
import { subcommandOf } from '../../command-of.js';
import { StageProgress } from '../../stage-progress.js';

export const anchorsImport = subcommandOf({
  name: 'anchors import',
  about:
    'Converts an anchor cache of the Python project (shard_*.pt, metadata.json), executing nothing that is in it. The result holds ' +
    'token ids and images as pi0_fast takes them, and is used as it is.',
  leading: { field: 'from', usage: 'FOLDER' },
  schema: z.strictObject({
    from: z.string().min(1).describe('Folder of that cache; may be given as the first word.'),
    output_dir: z.string().min(1).describe('Folder for the result; must not exist yet, or be empty.'),
    image_key: z
      .string()
      .min(1)
      .nullable()
      .default(null)
      .describe('Policy key of the camera whose images it has. null: the first of its metadata.'),
    bos_id: z.int().min(0).default(2).describe("Id of BOS in the policy's tokenizer; PaliGemma's is 2."),
    dtype: z.enum(['float16', 'float32']).default('float16').describe('How targets are stored.'),
    shard_size: z.int().min(1).default(256).describe('Samples per file.'),
    overwrite: z.boolean().default(false).describe('Delete another cache that is in the folder.'),
  }),
  run: async (config, output) => {
    const { importAnchorCache } = await import('@craft-ft/python-caches');
    const { anchorCacheInfo } = await import('@craft-ft/craft');
    const { formatInfo } = await import('./format-info.js');
    const progress = new StageProgress(output);
    try {
      await importAnchorCache({
        from: config.from,
        outputDir: config.output_dir,
        imageKey: config.image_key,
        bosId: config.bos_id,
        dtype: config.dtype,
        shardSize: config.shard_size,
        overwrite: config.overwrite,
        onWarning: (line) => progress.warn(line),
        onProgress: (done, total) => progress.update('shards', done, total),
      });
    } finally {
      progress.stop();
    }
    for (const line of formatInfo(anchorCacheInfo(config.output_dir))) output.out(`${line}\n`);
    return 0;
  },
});
