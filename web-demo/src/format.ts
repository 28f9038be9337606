/** Figures as text: decimal prefixes, three significant digits, and the unit always beside the number. */

/** Keeps a number and its unit on one line. */
const NBSP = '\u00a0';
const PREFIXES = ['', 'k', 'M', 'G', 'T'] as const;

/** Stands for a figure that is not known yet. */
export const UNKNOWN = '–';

function scaled(value: number, unit: string): string {
  if (!Number.isFinite(value) || value < 0) return UNKNOWN;
  let scale = 0;
  let rest = value;
  // 999.5 would round to "1000": it is shown with the next prefix instead.
  while (rest >= 999.5 && scale < PREFIXES.length - 1) {
    rest /= 1000;
    scale += 1;
  }
  const digits = scale === 0 ? 0 : rest < 9.995 ? 2 : rest < 99.95 ? 1 : 0;
  return `${rest.toFixed(digits)}${NBSP}${PREFIXES[scale]}${unit}`;
}

/** Bytes with a decimal prefix: `812 B`, `1.24 MB`. */
export function formatBytes(bytes: number): string {
  return scaled(bytes, 'B');
}

/** A rate, given in bytes per second and shown in bits per second: `1.24 Mbit/s`. */
export function formatRate(bytesPerSec: number): string {
  return scaled(bytesPerSec * 8, 'bit/s');
}

/** A round rate on an axis, in bits per second, without digits that say nothing: `5 Mbit/s`, `2.5 Mbit/s`. */
export function formatTick(bitsPerSec: number): string {
  return scaled(bitsPerSec, 'bit/s').replace(/(\.\d*?)0+(?=\D)/, '$1').replace(/\.(?=\D)/, '');
}

/**
 * A share of 0 to 1 as a percentage. Rounding never claims "all" or "nothing" where some of the other remains.
 */
export function formatPercent(share: number): string {
  if (!Number.isFinite(share)) return UNKNOWN;
  if (share > 0 && share < 0.01) return `<1${NBSP}%`;
  const whole = Math.round(share * 100);
  return `${share < 1 && whole === 100 ? 99 : whole}${NBSP}%`;
}

/** A duration given in milliseconds: `12 ms`, `1.24 s`, `2 min 05 s`. */
export function formatMs(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return UNKNOWN;
  if (ms < 999.5) return `${Math.round(ms)}${NBSP}ms`;
  if (ms < 59_950) return `${(ms / 1000).toFixed(ms < 9995 ? 2 : 1)}${NBSP}s`;
  const seconds = Math.round(ms / 1000);
  return `${Math.floor(seconds / 60)}${NBSP}min${NBSP}${String(seconds % 60).padStart(2, '0')}${NBSP}s`;
}

/** Time since the page was opened, for the event log: `0:07.3`. */
export function formatClock(ms: number): string {
  const tenths = Math.max(0, Math.floor(ms / 100));
  const minutes = Math.floor(tenths / 600);
  const seconds = Math.floor((tenths % 600) / 10);
  return `${minutes}:${String(seconds).padStart(2, '0')}.${tenths % 10}`;
}

/** A count with its noun: `1 peer`, `3 peers`. */
export function formatCount(count: number, one: string, many = `${one}s`): string {
  return `${count.toLocaleString('en')}${NBSP}${count === 1 ? one : many}`;
}

/** The first digits of a peer id: enough to tell the peers of one page apart. */
export function shortId(id: string): string {
  return id.slice(0, 6);
}

/** The file name of a URL, without its query: what tells one segment from another in a log line. */
export function fileName(url: string): string {
  const path = url.split(/[?#]/, 1)[0] ?? url;
  return path.slice(path.lastIndexOf('/') + 1) || path;
}
