/** The options of `Tabswarm.create`, checked before anything is started. */

import { TabswarmError } from './errors.js';
import { DEFAULT_POLICY, SHARINGS, type ResolvedPolicy, type SharingPolicy } from './sharing.js';

/** Options of `Tabswarm.create`. Each has a default; without `signaling` there are no peers. */
export interface TabswarmOptions {
  /**
   * Address of the service, `ws:` or `wss:`. Without one nothing is shared and segments come over plain HTTP.
   * @default undefined
   */
  signaling?: string;
  /**
   * Name of the stream: viewers of one name share. In `signed` mode the manifest names the stream, and this pins that name.
   * @default path of the master playlist, without host and query
   */
  stream?: string;
  /**
   * Where the roots come from that segments are checked against: a manifest with the publisher's signature, the same file
   * unsigned from the page's own origin or over https, or the service, which fetches segments itself.
   * @default 'signed' if `publisherKey` is set, else 'attested'
   */
  roots?: 'signed' | 'origin' | 'attested';
  /**
   * The publisher's Ed25519 public key, 64 hexadecimal digits, as `tabswarm publish` prints it.
   * @default undefined
   */
  publisherKey?: string;
  /**
   * URL of the manifest in `signed` and `origin` mode, absolute or relative to the page.
   * @default the master playlist's URL with `.tabswarm` behind its path, the query kept
   */
  manifest?: string;
  /**
   * What becomes of origin bytes that contradict the publisher's signature twice. A first segment that comes before the module was
   * delivered already: an `origin-mismatch` event tells of it.
   * @default 'refuse'
   */
  signedMismatch?: 'refuse' | 'deliver';
  /**
   * `manual`: no connection to peers or service is made before `enable()`.
   * @default 'auto'
   */
  consent?: 'auto' | 'manual';
  /**
   * `playback` connects to peers at the first frame, or earlier if the first segment is slow; `economy` connects at once
   * and lets the first segment wait for peers, 2.5 s at most, which saves the most bytes at the origin.
   * @default 'playback'
   */
  start?: 'playback' | 'economy';
  /**
   * Keys of the service's issuer, 64 hexadecimal digits each, as the service prints its own at its start: no other service is
   * believed. Two while an operator changes keys.
   * @default those that the service names
   */
  issuerKeys?: string[];
  /**
   * STUN and TURN servers.
   * @default what the service says
   */
  iceServers?: RTCIceServer[];
  /**
   * The path part of a segment's key, for URLs whose path differs between viewers, or of which only the query tells one
   * segment from another; `undefined` keeps the default. It must be the same for every viewer, and hold no token.
   * @default the URL's path, relative to the master playlist's directory
   */
  segmentKey?: (url: URL) => string | undefined;
  /**
   * Most bytes of verified segments that are kept in memory, for peers and for playing again.
   * @default 134217728 (128 MiB); half of that where the device has 2 GB of memory or is a phone that does not say, a quarter
   * with 1 GB, an eighth with less
   */
  cacheLimitBytes?: number;
  /**
   * Keeps verified segments on disk too, in the page's origin-private file system, so that a reload plays and shares them
   * without fetching them again. Only those of streams with a manifest that says they are complete: nothing of a live stream,
   * and nothing with attested roots. Where the browser has no such file system they stay in memory.
   * @default false
   */
  persist?: boolean;
  /**
   * Most bytes on disk, with `persist`. Never more than half of what the browser would still let the page store.
   * @default 536870912 (512 MiB)
   */
  persistLimitBytes?: number;
  /**
   * Most bytes of segments a second that are given to peers, all together; 0: this viewer takes only. The less a viewer gives,
   * the later peers whose uplinks are full serve it.
   * @default undefined: no limit
   */
  uploadLimit?: number;
  /**
   * What is shared on metered connections, in hidden pages, and while the battery is low. `stats().sharing` says what is so now.
   * @default { metered: 'download-only', hidden: 'full', lowBattery: 'download-only' }
   */
  policy?: SharingPolicy;
  /**
   * `auto`: where the service knows other viewers of the same network (a /24 or /48), up to half of those it names are such ones,
   * and this viewer is named to them. `off`: all are drawn by chance.
   * @default 'auto'
   */
  lan?: 'auto' | 'off';
  /**
   * Most connections to peers, 1 to 60; up to twelve of them carry segments, the others are for finding peers without the service.
   * @default 60
   */
  maxConnections?: number;
  /**
   * Access token for the service, where it wants one; at most 4096 bytes.
   * @default undefined
   */
  token?: string;
  /**
   * Where the wasm module is, for bundlers that move it.
   * @default tabswarm_bg.wasm beside this package's files
   */
  wasmUrl?: string | URL;
}

/** Options with their defaults filled in. @internal */
export interface ResolvedOptions {
  readonly signaling: string | undefined;
  readonly stream: string | undefined;
  readonly roots: 'signed' | 'origin' | 'attested';
  readonly publisherKey: string | undefined;
  readonly manifest: string | undefined;
  readonly signedMismatch: 'refuse' | 'deliver';
  readonly consent: 'auto' | 'manual';
  readonly start: 'playback' | 'economy';
  readonly issuerKeys: string[] | undefined;
  readonly iceServers: RTCIceServer[] | undefined;
  readonly segmentKey: ((url: URL) => string | undefined) | undefined;
  readonly cacheLimitBytes: number;
  readonly persist: boolean;
  readonly persistLimitBytes: number;
  readonly uploadLimit: number | undefined;
  readonly policy: ResolvedPolicy;
  readonly lan: 'auto' | 'off';
  readonly maxConnections: number;
  readonly token: string | undefined;
  readonly wasmUrl: string | URL | undefined;
}

const MIB = 1024 * 1024;
/** Memory for segments where there is enough of it. */
const MOST_CACHE_BYTES = 128 * MIB;
/** Of each GB that the device has, so much is for segments. */
const CACHE_BYTES_PER_GB = 32 * MIB;
const LEAST_CACHE_BYTES = 16 * MIB;
const DEFAULT_PERSIST_LIMIT_BYTES = 512 * MIB;
const MAX_TEXT_BYTES = 1024;
const MAX_TOKEN_BYTES = 4096;
const MAX_CONNECTIONS = 60;
/** As many as are valid at a time while an operator changes keys. */
const MAX_ISSUERS = 2;
const KNOWN: ReadonlySet<string> = new Set<keyof TabswarmOptions>([
  'signaling', 'stream', 'roots', 'publisherKey', 'manifest', 'signedMismatch', 'consent', 'start', 'iceServers', 'issuerKeys',
  'segmentKey', 'cacheLimitBytes', 'persist', 'persistLimitBytes', 'uploadLimit', 'policy', 'lan', 'maxConnections', 'token', 'wasmUrl',
]);

function refuse(option: string, problem: string): never {
  throw new TabswarmError('invalid-option', `option ${option}: ${problem}`);
}

function text(option: string, value: unknown, maxBytes: number): string | undefined {
  if (value === undefined) return undefined;
  if (typeof value !== 'string' || value === '') refuse(option, 'a text that is not empty is expected');
  if (new TextEncoder().encode(value).length > maxBytes) refuse(option, `longer than ${maxBytes} bytes`);
  return value;
}

function choice<T extends string>(option: string, value: unknown, choices: readonly T[], fallback: T): T {
  if (value === undefined) return fallback;
  const found = choices.find((one) => one === value);
  return found ?? refuse(option, `one of ${choices.map((one) => `'${one}'`).join(', ')} is expected`);
}

function serviceUrl(value: unknown): string | undefined {
  const address = text('signaling', value, MAX_TEXT_BYTES);
  if (address === undefined) return undefined;
  let url: URL;
  try {
    url = new URL(address);
  } catch {
    return refuse('signaling', 'not a URL');
  }
  if (url.protocol !== 'ws:' && url.protocol !== 'wss:') refuse('signaling', 'a ws: or wss: URL is expected');
  if (url.hash !== '') refuse('signaling', 'a WebSocket URL has no fragment');
  return url.href;
}

function wholeNumber(name: string, value: unknown, unit: string): number | undefined {
  if (value === undefined) return undefined;
  const usable = typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
  return usable ? value : refuse(name, `a whole number of ${unit} is expected`);
}

function connections(value: unknown): number {
  const most = wholeNumber('maxConnections', value, 'connections') ?? MAX_CONNECTIONS;
  return most > 0 && most <= MAX_CONNECTIONS ? most : refuse('maxConnections', `1 to ${MAX_CONNECTIONS} is expected`);
}

function policy(value: unknown): ResolvedPolicy {
  if (value === undefined) return DEFAULT_POLICY;
  if (typeof value !== 'object' || value === null) return refuse('policy', 'an object is expected');
  for (const state of Object.keys(value)) if (!Object.hasOwn(DEFAULT_POLICY, state)) refuse(`policy.${state}`, 'there is none of this name');
  const given = value as SharingPolicy;
  const rule = (state: keyof SharingPolicy) => choice(`policy.${state}`, given[state], SHARINGS, DEFAULT_POLICY[state]);
  return { metered: rule('metered'), hidden: rule('hidden'), lowBattery: rule('lowBattery') };
}

function iceServers(value: unknown): RTCIceServer[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value)) return refuse('iceServers', 'a list is expected');
  const servers = value as RTCIceServer[];
  if (typeof RTCPeerConnection !== 'function') return servers;
  try {
    new RTCPeerConnection({ iceServers: servers }).close();
  } catch (error) {
    // Chromium's word for too many connections, which says nothing of the servers.
    if ((error as Error).name !== 'UnknownError') refuse('iceServers', (error as Error).message);
  }
  return servers;
}

function key(option: string, value: unknown): string | undefined {
  const digits = text(option, value, 64)?.toLowerCase();
  if (digits !== undefined && !/^[0-9a-f]{64}$/.test(digits)) refuse(option, '64 hexadecimal digits are expected');
  return digits;
}

function issuerKeys(value: unknown): string[] | undefined {
  if (value === undefined) return undefined;
  if (!Array.isArray(value) || value.length < 1 || value.length > MAX_ISSUERS) refuse('issuerKeys', 'a list of one or two keys is expected');
  return value.map((one: unknown) => key('issuerKeys', one) ?? refuse('issuerKeys', 'a key is missing'));
}

function flag(option: string, value: unknown): boolean {
  if (value !== undefined && typeof value !== 'boolean') refuse(option, 'true or false is expected');
  return value ?? false;
}

/** Memory for segments, by what the device says that it has. */
function defaultCacheBytes(): number {
  const { deviceMemory, userAgent = '' } = (globalThis.navigator ?? {}) as Navigator & { deviceMemory?: number };
  // Only Chromium says how much memory there is, and no browser more than 8 GB.
  const assumedGb = /\bMobi/.test(userAgent) ? 2 : 4;
  const bytes = (deviceMemory ?? assumedGb) * CACHE_BYTES_PER_GB;
  return Math.min(MOST_CACHE_BYTES, Math.max(LEAST_CACHE_BYTES, bytes));
}

/** Checks options and fills in their defaults. @throws TabswarmError `invalid-option` @internal */
export function resolveOptions(options: TabswarmOptions): ResolvedOptions {
  if (typeof options !== 'object' || options === null) refuse('(all)', 'an object is expected');
  for (const option of Object.keys(options)) if (!KNOWN.has(option)) refuse(option, 'there is none of this name');
  const publisherKey = key('publisherKey', options.publisherKey);
  const roots = choice(
    'roots', options.roots, ['signed', 'origin', 'attested'], publisherKey === undefined ? 'attested' : 'signed',
  );
  if (roots === 'signed' && publisherKey === undefined) refuse('publisherKey', "roots: 'signed' needs it");
  if (roots !== 'signed' && publisherKey !== undefined) refuse('publisherKey', `roots: '${roots}' does not use it`);
  const { segmentKey, wasmUrl } = options;
  if (segmentKey !== undefined && typeof segmentKey !== 'function') refuse('segmentKey', 'a function is expected');
  return {
    signaling: serviceUrl(options.signaling),
    stream: text('stream', options.stream, MAX_TEXT_BYTES),
    roots,
    publisherKey,
    manifest: text('manifest', options.manifest, 8192),
    signedMismatch: choice('signedMismatch', options.signedMismatch, ['refuse', 'deliver'], 'refuse'),
    consent: choice('consent', options.consent, ['auto', 'manual'], 'auto'),
    start: choice('start', options.start, ['playback', 'economy'], 'playback'),
    issuerKeys: issuerKeys(options.issuerKeys),
    iceServers: iceServers(options.iceServers),
    segmentKey,
    cacheLimitBytes: wholeNumber('cacheLimitBytes', options.cacheLimitBytes, 'bytes') ?? defaultCacheBytes(),
    persist: flag('persist', options.persist),
    persistLimitBytes: wholeNumber('persistLimitBytes', options.persistLimitBytes, 'bytes') ?? DEFAULT_PERSIST_LIMIT_BYTES,
    uploadLimit: wholeNumber('uploadLimit', options.uploadLimit, 'bytes a second'),
    policy: policy(options.policy),
    lan: choice('lan', options.lan, ['auto', 'off'], 'auto'),
    maxConnections: connections(options.maxConnections),
    token: text('token', options.token, MAX_TOKEN_BYTES),
    wasmUrl,
  };
}
