import { z } from 'zod';
import { subcommandOf } from '../../command-of.js';

export const anchorsInfo = subcommandOf({
  name: 'anchors info',
  about: 'Shows what is in an anchor cache: size, tasks, coverage, teacher, layers.',
  leading: { field: 'root', usage: 'FOLDER' },
  schema: z.strictObject({
    root: z.string().min(1).describe('Folder of the cache; may be given as the first word.'),
    verify: z
      .boolean()
      .default(false)
      .describe('Read every shard and compare it with its hash; the exit code is 1 where one differs.'),
    json: z.boolean().default(false).describe('JSON on standard output instead of text.'),
  }),
  run: async ({ root, verify, json }, output) => {
    const { anchorCacheInfo } = await import('@craft-ft/craft');
    const { formatInfo } = await import('./format-info.js');
    const info = anchorCacheInfo(root, { verify });
    if (json) output.out(`${JSON.stringify(info)}\n`);
    else for (const line of formatInfo(info)) output.out(`${line}\n`);
    return (info.damaged ?? []).length === 0 ? 0 : 1;
  },
});
