// Measurements that each side of a comparison takes of itself.
import { readFileSync } from 'node:fs';

/** A field of /proc/self/status in MB, such as VmHWM (peak resident memory). On other systems: the resident memory that Node reports. */
export function status(field) {
  try {
    return (
      Number(new RegExp(`${field}:\\s+(\\d+) kB`).exec(readFileSync('/proc/self/status', 'utf8'))[1]) / 1024
    );
  } catch {
    return process.memoryUsage().rss / 2 ** 20;
  }
}

/** @param {number[]} values */
export function median(values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1];
}

/** CPU time of all threads so far, in milliseconds. */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
