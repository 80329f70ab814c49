// Writes src/generated/{ops,methods}.ts from ops.txt and the schemas of the libtorch the addon was built against.
// Generate on the oldest supported libtorch: later ones only append arguments with defaults.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const native = createRequire(import.meta.url)(process.env.CRAFT_TORCH_ADDON ?? here('../build/torch.node'));

// Operators that only newer libtorch has: their schemas are written down so that any libtorch generates the same files.
const NEWER = {
  'scaled_dot_product_attention.':
    'aten::scaled_dot_product_attention(Tensor query, Tensor key, Tensor value, Tensor? attn_mask=None, float dropout_p=0.0, bool is_causal=False, *, float? scale=None) -> Tensor',
  'rms_norm.':
    'aten::rms_norm(Tensor input, int[] normalized_shape, Tensor? weight=None, float? eps=None) -> Tensor',
  '_fused_adamw_.':
    'aten::_fused_adamw_(Tensor(a!)[] self, Tensor(b!)[] grads, Tensor(c!)[] exp_avgs, Tensor(d!)[] exp_avg_sqs, Tensor(e!)[] max_exp_avg_sqs, Tensor[] state_steps, *, float lr, float beta1, float beta2, float weight_decay, float eps, bool amsgrad, bool maximize, Tensor? grad_scale=None, Tensor? found_inf=None) -> ()',
};
// Left out of the TypeScript signatures: strided CPU and GPU tensors need none of them.
const HIDDEN = new Set([
  'layout',
  'pin_memory',
  'memory_format',
  'non_blocking',
  'out',
  'cudnn_enable',
  'cudnn_enabled',
]);

const camel = (name) =>
  name.replace(/^_+/, '').replace(/(?<=[a-zA-Z0-9])_([a-z0-9])/g, (_, c) => c.toUpperCase());
const RESERVED = new Set(['var', 'in', 'new', 'function', 'default', 'this', 'with', 'delete']);
const localName = (name) => (RESERVED.has(name) ? `${name}Value` : name);

function splitTop(text) {
  const parts = [];
  let depth = 0;
  let start = 0;
  for (let i = 0; i < text.length; i++) {
    if ('([{'.includes(text[i])) depth++;
    if (')]}'.includes(text[i])) depth--;
    if (text[i] === ',' && depth === 0) {
      parts.push(text.slice(start, i).trim());
      start = i + 1;
    }
  }
  if (text.slice(start).trim()) parts.push(text.slice(start).trim());
  return parts;
}

function parseType(type) {
  const bare = type.replace(/\([^)]*\)/g, '');
  const optional = bare.endsWith('?');
  const base = optional ? bare.slice(0, -1) : bare;
  const list = /^(.+?)(\?)?\[(\d*)\]$/.exec(base);
  if (list) return { kind: list[1], list: true, optionalElements: Boolean(list[2]), size: list[3], optional };
  return { kind: base, list: false, optional };
}

function parseSchema(text) {
  const close = matchingParenthesis(text, text.indexOf('('));
  const parameters = [];
  let keywordOnly = false;
  for (const part of splitTop(text.slice(text.indexOf('(') + 1, close))) {
    if (part === '*') {
      keywordOnly = true;
      continue;
    }
    const match = /^(\S+(?:\([^)]*\)\S*)?(?: -> \*\)\S*)?) (\w+)(?:=(.*))?$/.exec(
      part.replace(/\(([a-z]) -> \*\)/, '($1)'),
    );
    if (!match) throw new Error(`cannot parse '${part}' in ${text}`);
    parameters.push({
      name: match[2],
      type: parseType(match[1]),
      fallback: match[3],
      keywordOnly,
      written: /!\)/.test(match[1]),
    });
  }
  const returns = text.slice(text.indexOf('->', close) + 2).trim();
  return { parameters, returns };
}

function matchingParenthesis(text, open) {
  let depth = 0;
  for (let i = open; i < text.length; i++) {
    if (text[i] === '(') depth++;
    if (text[i] === ')' && --depth === 0) return i;
  }
  throw new Error(`unbalanced: ${text}`);
}

const SCALARS = {
  Tensor: 'Tensor',
  Scalar: 'Scalar',
  int: 'number',
  SymInt: 'number',
  float: 'number',
  bool: 'boolean',
  str: 'string',
  Device: 'string',
  Generator: 'Generator',
  ScalarType: 'DType',
};

function tsType(parameter) {
  const { kind, list, optionalElements, size, optional } = parameter.type;
  if (!(kind in SCALARS)) throw new Error(`no TypeScript type for ${kind}`);
  let type = SCALARS[kind];
  if (list) {
    type = `readonly ${optionalElements ? `(${type} | null)` : type}[]`;
    if (size) type = `${type} | number`;
  }
  return optional ? `${type} | null` : type;
}

// How an argument is handed to the addon: tensors by handle, dtypes by code, everything else as it is.
function encode(parameter, expression, cast) {
  const { kind, list, optionalElements, optional } = parameter.type;
  const maybe = optional || parameter.fallback !== undefined;
  const typed = (type) => (cast ? `(${expression} as ${type})` : expression);
  if (kind === 'Tensor' && list)
    return `${optionalElements ? 'optionalHandles' : 'handles'}(${typed('readonly Tensor[]')})`;
  if (kind === 'Tensor') return maybe ? `${typed('Tensor | null | undefined')}?.h` : `${typed('Tensor')}.h`;
  if (kind === 'Generator') return `${typed('Generator | null | undefined')}?.h`;
  if (kind === 'ScalarType') return `dtypeCode(${typed('DType | null | undefined')})`;
  return expression;
}

function guard(parameter, expression) {
  const { kind, list, size, optional } = parameter.type;
  let test;
  if (list)
    test = size
      ? `(Array.isArray(${expression}) || typeof ${expression} === 'number')`
      : `Array.isArray(${expression})`;
  else if (kind === 'Tensor') test = `${expression} instanceof Tensor`;
  else if (kind === 'Scalar') test = `isScalar(${expression})`;
  else if (kind === 'bool') test = `typeof ${expression} === 'boolean'`;
  else if (kind === 'str') test = `typeof ${expression} === 'string'`;
  else test = `typeof ${expression} === 'number'`;
  return optional ? `(${expression} === null || ${test})` : test;
}

function returnType(schema) {
  if (schema.inPlace) return 'Tensor';
  const bare = schema.returns.replace(/\([a-z](?:!)?(?: -> \*)?\)/g, '');
  const one = (text) => {
    const type = text.trim().split(' ')[0];
    if (type === 'Tensor') return 'Tensor';
    if (type === 'Tensor[]') return 'Tensor[]';
    if (type === 'bool') return 'boolean';
    if (type === 'int' || type === 'float') return 'number';
    throw new Error(`no TypeScript type for result ${text}`);
  };
  if (bare === '()') return 'void';
  if (bare.startsWith('(')) return `[${splitTop(bare.slice(1, -1)).map(one).join(', ')}]`;
  return one(bare);
}

function wrapResult(type, call) {
  if (type === 'Tensor') return `return wrap(${call});`;
  if (type === 'Tensor[]' || type.startsWith('[Tensor')) return `return wrapAll(${call}) as ${type};`;
  if (type === 'void') return `${call};`;
  return `return ${call} as ${type};`;
}

function overloadOf(name, overload) {
  const optional = overload.startsWith('?');
  const bare = overload.replace(/^\?/, '').replace(/^-$/, '');
  const text = NEWER[`${name}.${bare}`] ?? native.schemaOf(required(name, bare));
  const { parameters, returns } = parseSchema(text);
  const schema = { name, overload: bare, parameters, returns, optional, text };
  const self = parameters[0];
  schema.inPlace = self?.type.kind === 'Tensor' && !self.type.list && self.written && returns !== '()';
  schema.positional = parameters.filter((p) => !p.keywordOnly && !HIDDEN.has(p.name));
  schema.keywords = parameters.filter((p) => p.keywordOnly && !HIDDEN.has(p.name));
  schema.result = returnType(schema);
  schema.constant = `${name}_${bare}`.replace(/\W/g, '').toUpperCase().replace(/_$/, '$');
  return schema;
}

function required(name, overload) {
  const id = native.findOp(`aten::${name}`, overload);
  if (id < 0) throw new Error(`aten::${name}.${overload} is not in libtorch ${native.version()}`);
  return id;
}

function isOptional(parameters, i) {
  return parameters.slice(i).every((p) => p.fallback !== undefined);
}

function signature(schema) {
  const parts = schema.positional.map((p, i) => {
    const question = isOptional(schema.positional, i) ? '?' : '';
    return `${localName(camel(p.name))}${question}: ${tsType(p)}`;
  });
  if (schema.keywords.length > 0) {
    const needed = schema.keywords.some((p) => p.fallback === undefined && !p.type.optional);
    const fields = schema.keywords.map((p) => {
      const question = p.fallback !== undefined || p.type.optional ? '?' : '';
      return `${camel(p.name)}${question}: ${tsType(p)}`;
    });
    parts.push(`options${needed ? '' : '?'}: { ${fields.join('; ')} }`);
  }
  return parts;
}

// The call with arguments in schema order; `at` gives the expression of the i-th positional argument.
function callExpression(schema, at, options, cast) {
  let i = 0;
  const values = schema.parameters.map((p) => {
    if (HIDDEN.has(p.name)) return p.fallback === undefined && !p.type.optional ? 'true' : 'undefined';
    if (!p.keywordOnly) return encode(p, at(i++, p), cast);
    return encode(p, `${options}?.${camel(p.name)}`, false);
  });
  while (values.at(-1) === 'undefined') values.pop();
  return `native.call(${schema.constant}, ${values.join(', ')})`;
}

function optionsType(schema) {
  const fields = schema.keywords.map((p) => `${camel(p.name)}?: ${tsType(p)}`);
  return `{ ${fields.join('; ')} } | undefined`;
}

function single(name, schema) {
  const call = callExpression(schema, (_, p) => localName(camel(p.name)), 'options', false);
  const body = schema.inPlace
    ? `${call};\n  return ${localName(camel(schema.parameters[0].name))};`
    : wrapResult(schema.result, call);
  return `/** \`${schema.text}\` */\nexport function ${name}(${signature(schema).join(', ')}): ${schema.result} {\n  ${body}\n}\n`;
}

function multiple(name, schemas) {
  const lines = schemas.map(
    (s) => `/** \`${s.text}\` */\nexport function ${name}(${signature(s).join(', ')}): ${s.result};`,
  );
  const width = Math.max(...schemas.map((s) => s.positional.length + (s.keywords.length > 0 ? 1 : 0)));
  const slots = Array.from({ length: width }, (_, i) => `a${i}`);
  const results = [...new Set(schemas.map((s) => s.result))].join(' | ');
  lines.push(`export function ${name}(${slots.map((s) => `${s}?: unknown`).join(', ')}): ${results} {`);
  schemas.forEach((schema, index) => {
    const options = `(a${schema.positional.length} as ${optionsType(schema)})`;
    const call = callExpression(schema, (i) => `a${i}`, options, true);
    const body = schema.inPlace ? `${call};\n    return a0 as Tensor;` : wrapResult(schema.result, call);
    if (index === schemas.length - 1) {
      lines.push(`  ${body}`);
      return;
    }
    const tests = schema.positional
      .map((p, i) => {
        if (i === 0 && p.name === 'self' && p.type.kind === 'Tensor') return '';
        const test = guard(p, `a${i}`);
        return p.fallback === undefined ? test : `(a${i} === undefined || ${test})`;
      })
      .filter(Boolean);
    // An overload told apart only by its required keywords (as in `correction`) is chosen when one of them is given.
    const own = schema.keywords.filter((p) => !schemas.at(-1).keywords.some((q) => q.name === p.name));
    if (own.length > 0) {
      const keys = own.map((p) => `hasKey(a${schema.positional.length}, '${camel(p.name)}')`).join(' || ');
      tests.push(own.length > 1 ? `(${keys})` : keys);
    }
    if (tests.length === 0) throw new Error(`${name}.${schema.overload} cannot be told apart`);
    lines.push(`  if (${tests.join(' && ')}) {\n    ${body}\n  }`);
  });
  lines.push('}\n');
  return lines.join('\n');
}

const entries = readFileSync(here('../ops.txt'), 'utf8')
  .split('\n')
  .map((line) => line.trim())
  .filter((line) => line !== '' && !line.startsWith('#'))
  .map((line) => {
    const [name, ...rest] = line.split(/\s+/);
    const functionOnly = rest[0] === 'fn';
    return { name, functionOnly, overloads: functionOnly ? rest.slice(1) : rest };
  });

const header = `// Generated by packages/torch/scripts/generate.mjs from ops.txt: do not edit.\n`;
const constants = [];
const functions = [];
const methods = [];
const assignments = [];
for (const { name, functionOnly, overloads } of entries) {
  const schemas = overloads.map((overload) => overloadOf(name, overload));
  const fn = localName(camel(name));
  for (const schema of schemas) {
    constants.push(`const ${schema.constant} = operator('aten::${name}', '${schema.overload}');`);
  }
  functions.push(schemas.length === 1 ? single(fn, schemas[0]) : multiple(fn, schemas));
  if (functionOnly) continue;
  const method = camel(name);
  for (const schema of schemas) {
    const parts = signature({ ...schema, positional: schema.positional.slice(1) });
    const result = schema.inPlace ? 'this' : schema.result;
    methods.push(`    /** \`${schema.text}\` */\n    ${method}(${parts.join(', ')}): ${result};`);
  }
  const width = Math.max(...schemas.map((s) => s.positional.length - 1 + (s.keywords.length > 0 ? 1 : 0)));
  const slots = Array.from({ length: width }, (_, i) => `a${i + 1}`);
  assignments.push(
    `  ${method}(this: Tensor${slots.map((s) => `, ${s}?: unknown`).join('')}) {\n    return (ops.${fn} as Loose)(this${slots.map((s) => `, ${s}`).join('')});\n  },`,
  );
}

writeFileSync(
  here('../src/generated/ops.ts'),
  `${header}import type { DType } from '../dtype.js';
import { dtypeCode } from '../dtype.js';
import { native, operator } from '../native.js';
import { handles, hasKey, isScalar, optionalHandles, type Scalar } from '../operator.js';
import type { Generator } from '../random.js';
import { Tensor, wrap, wrapAll } from '../tensor.js';

${constants.join('\n')}

${functions.join('\n')}`,
);
writeFileSync(
  here('../src/generated/methods.ts'),
  `${header}import type { DType } from '../dtype.js';
import type { Scalar } from '../operator.js';
import type { Generator } from '../random.js';
import { addMethods, type Tensor } from '../tensor.js';
import * as ops from './ops.js';

type Loose = (...args: unknown[]) => unknown;

declare module '../tensor.js' {
  interface Tensor {
${methods.join('\n')}
  }
}

const methods = {
${assignments.join('\n')}
};

addMethods(methods);
`,
);
console.log(`${functions.length} functions, ${assignments.length} methods from libtorch ${native.version()}`);
