// What the sides of a comparison measure of themselves.
import { readFileSync } from 'node:fs';

/** A line of /proc/self/status, such as VmHWM (the peak of resident memory), in MB; resident memory as Node sees it elsewhere. */
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

/** Processor time of all threads so far, in milliseconds. */
export function cpuMs() {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}
