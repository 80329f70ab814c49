#!/usr/bin/env node
// npm run docs              writes docs/{en,zh}/config-reference.md from the schemas that `craft train` is checked by
// npm run docs -- --check   writes nothing and fails where a file is not what it would write
// Uses what set-up has built. Descriptions are in English in both languages: they are those of `craft train --help`.
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { trainFlags } from '../packages/cli/dist/train-config.js';

const TEXT = {
  en: {
    title: '# Configuration reference',
    about:
      'Every flag of `craft train`, from the schemas that check them. `craft train --help` prints the same. ' +
      'This page is generated: change the descriptions in the schemas and run `npm run docs`.',
    craft: 'The method: `craft.*`',
    files: 'Files',
    run: 'The run',
    group: (name) => `\`${name}.*\``,
    variant: (name, type) => `\`${name}.*\` with \`--${name}.type=${type}\``,
    columns: ['flag', 'values', 'default', 'meaning'],
    required: 'required',
    notYet: 'LeRobot flags without effect here',
    notYetAbout:
      'These exist in LeRobot. The values in the second column are accepted, since they ask for what happens anyway. ' +
      '*any* means that every value is accepted and reported as ignored. Any other value is refused with the reason.',
    notYetColumns: ['flag', 'accepted', 'reason'],
    any: '*any*',
  },
  zh: {
    title: '# 配置参考',
    about:
      '`craft train` 的全部参数，由校验这些参数的 schema 生成，与 `craft train --help` 的输出一致。说明文字保留英文。' +
      '本页为自动生成：请修改 schema 中的说明，再运行 `npm run docs`。',
    craft: '方法：`craft.*`',
    files: '文件',
    run: '运行',
    group: (name) => `\`${name}.*\``,
    variant: (name, type) => `\`${name}.*\`（当 \`--${name}.type=${type}\` 时）`,
    columns: ['参数', '取值', '默认值', '含义（英文）'],
    required: '必填',
    notYet: '在此不起作用的 LeRobot 参数',
    notYetAbout:
      '这些参数存在于 LeRobot 中。第二列的取值会被接受，因为它们要求的正是本来就会发生的事。' +
      '*任意* 表示任何取值都会被接受，并报告为已忽略。其他取值会被拒绝，并给出原因。',
    notYetColumns: ['参数', '接受的取值', '原因（英文）'],
    any: '*任意*',
  },
};

const cell = (text) =>
  text.replaceAll('|', '\\|').replaceAll('*', '\\*').replaceAll('<', '&lt;').replaceAll('\n', ' ');
const code = (text) => `\`${text.replaceAll('|', '\\|')}\``;
const row = (cells) => `| ${cells.join(' | ')} |`;
const table = (columns, rows) => [row(columns), row(columns.map(() => '---')), ...rows.map(row)].join('\n');

/** Fields, each under its own heading: those of `craft` first, then in the schema's order. */
function sections(fields, text) {
  const found = new Map([[text.craft, []]]);
  for (const field of fields) {
    if (field.kind === 'group') continue;
    const group = field.path.split('.').slice(0, -1).join('.');
    const heading =
      field.variant !== null
        ? text.variant(group, field.variant.type)
        : group === 'craft'
          ? text.craft
          : group === ''
            ? text.run
            : text.group(group);
    found.set(heading, [...(found.get(heading) ?? []), field]);
  }
  return found;
}

function page(text) {
  const { fields, special, notYet } = trainFlags();
  const blocks = [text.title, text.about];
  for (const [heading, group] of sections(fields, text)) {
    const rows = group.map((field) => [
      code(`--${field.path}`),
      cell(field.type),
      field.default === null ? text.required : code(field.default),
      cell(field.description),
    ]);
    blocks.push(`## ${heading}`, table(text.columns, rows));
  }
  const files = special.map(({ name, type, description }) => [
    code(`--${name}`),
    cell(type),
    '',
    cell(description),
  ]);
  blocks.push(`## ${text.files}`, table(text.columns, files));
  const refused = notYet.map(({ flag, off, reason }) => [
    code(`--${flag}`),
    off === 'any' ? text.any : [...off, null].map((value) => code(JSON.stringify(value))).join(', '),
    cell(reason),
  ]);
  blocks.push(`## ${text.notYet}`, text.notYetAbout, table(text.notYetColumns, refused));
  return `${blocks.join('\n\n')}\n`;
}

const check = process.argv.includes('--check');
for (const [language, text] of Object.entries(TEXT)) {
  const path = fileURLToPath(new URL(`../docs/${language}/config-reference.md`, import.meta.url));
  const wanted = page(text);
  if (!check) {
    writeFileSync(path, wanted);
  } else if (readFileSync(path, 'utf8') !== wanted) {
    console.error(`docs/${language}/config-reference.md is out of date: run npm run docs`);
    process.exitCode = 1;
  }
}
