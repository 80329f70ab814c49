import { writeFileSync } from 'node:fs';
import { crc32 } from 'node:zlib';

/** A zip file without compression, as torch.save writes it. `method` other than 0 is only claimed. */
export function storedZip(entries: Readonly<Record<string, Uint8Array>>, method = 0): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, content] of Object.entries(entries)) {
    const text = Buffer.from(name);
    // What both headers say, the second two bytes later.
    const header = (length: number, signature: number, at: number): Buffer => {
      const bytes = Buffer.alloc(length);
      bytes.writeUInt32LE(signature, 0);
      bytes.writeUInt16LE(method, at);
      bytes.writeUInt32LE(crc32(content), at + 6);
      bytes.writeUInt32LE(content.length, at + 10);
      bytes.writeUInt32LE(content.length, at + 14);
      bytes.writeUInt16LE(text.length, at + 18);
      return bytes;
    };
    const local = header(30, 0x04034b50, 8);
    const entry = header(46, 0x02014b50, 10);
    entry.writeUInt32LE(offset, 42);
    parts.push(local, text, Buffer.from(content));
    directory.push(entry, text);
    offset += 30 + text.length + content.length;
  }
  const central = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  const count = Object.keys(entries).length;
  end.writeUInt16LE(count, 8);
  end.writeUInt16LE(count, 10);
  end.writeUInt32LE(central.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, central, end]);
}

/** Writes a file whose pickle is given, as torch.save would. */
export function writeTorchFile(
  path: string,
  pickle: Uint8Array,
  data: Readonly<Record<string, Uint8Array>> = {},
): void {
  const storages = Object.entries(data).map(([key, bytes]) => [`archive/data/${key}`, bytes]);
  writeFileSync(path, storedZip({ 'archive/data.pkl': pickle, ...Object.fromEntries(storages) }));
}

/** Bytes from texts (Latin-1) and numbers. */
export function bytes(...parts: (string | number | Uint8Array)[]): Uint8Array {
  return Buffer.concat(
    parts.map((part) =>
      typeof part === 'number'
        ? Buffer.from([part])
        : typeof part === 'string'
          ? Buffer.from(part, 'latin1')
          : part,
    ),
  );
}
