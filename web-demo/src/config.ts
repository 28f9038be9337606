/** What to play and how: the dev server's `/dev/config.json`, overridden by the page's own query. */

/** Where segment roots come from. */
export type RootsMode = 'attested' | 'origin' | 'signed';

const MODES: readonly RootsMode[] = ['attested', 'origin', 'signed'];

/** Everything the page is told from outside. */
export interface DemoConfig {
  /** Absolute URL of the master playlist, the viewer's token included. */
  readonly src: URL;
  /** `ws(s)://` URL of the signaling service; none: HTTP only. */
  readonly signaling?: string;
  readonly mode?: RootsMode;
  /** Publisher's Ed25519 key, 64 hex digits. */
  readonly publisherKey?: string;
  /** Whether peers may be used from the start. @default true */
  readonly p2p: boolean;
  /** @default false */
  readonly autoplay: boolean;
  /** @default false */
  readonly muted: boolean;
  /** This viewer's name, for the title and the origin's count. */
  readonly viewer?: string;
}

const DEFAULT_STREAM = '/sample/master.m3u8';

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null;
}

function isMode(value: unknown): value is RootsMode {
  return MODES.some((mode) => mode === value);
}

function asText(value: unknown): string | undefined {
  return typeof value === 'string' && value !== '' ? value : undefined;
}

function asFlag(value: string | null): boolean {
  return value !== null && value !== '0' && value !== 'off' && value !== 'false';
}

/** Puts `viewer` into a URL's query, where the origin counts it and the segment key does not look. */
export function withViewer(url: string, viewer: string): string {
  const tagged = new URL(url);
  tagged.searchParams.set('viewer', viewer);
  return tagged.href;
}

/** The page's URL for one more viewer: the same, but a named viewer's successor gets a name of its own. */
export function nextViewerUrl(page: string, random: () => number = Math.random): string {
  const url = new URL(page);
  const viewer = url.searchParams.get('viewer');
  if (viewer !== null) {
    const stem = viewer.replace(/-[0-9a-z]{4}$/, '');
    const suffix = Math.floor(random() * 36 ** 4).toString(36).padStart(4, '0');
    url.searchParams.set('viewer', `${stem}-${suffix}`);
  }
  return url.href;
}

/** Joins what the service said (`dev`, unchecked JSON) with the page's URL, which wins. */
export function readConfig(page: string, dev: unknown): DemoConfig {
  const query = new URL(page).searchParams;
  const told = isRecord(dev) ? dev : {};
  const viewer = asText(query.get('viewer'));
  const src = new URL(asText(query.get('src')) ?? asText(told['stream']) ?? DEFAULT_STREAM, page);
  if (viewer) src.searchParams.set('viewer', viewer);
  const signalingPath = asText(told['signaling']);
  const signaling = signalingPath && new URL(signalingPath, page);
  if (signaling) signaling.protocol = signaling.protocol.replace(/^http/, 'ws');
  const mode = [query.get('mode'), told['mode']].find(isMode);
  const publisherKey = asText(query.get('key')) ?? asText(told['publisherKey']);
  return {
    src,
    ...(signaling && { signaling: signaling.href }),
    ...(mode && { mode }),
    ...(publisherKey && { publisherKey }),
    p2p: query.get('p2p') !== 'off',
    autoplay: asFlag(query.get('autoplay')),
    muted: asFlag(query.get('muted')),
    ...(viewer && { viewer }),
  };
}

/** Asks the service that serves the page. A page on a plain web server has none, and plays `?src=` over HTTP. */
export async function loadConfig(page: string): Promise<DemoConfig> {
  let dev: unknown;
  try {
    const response = await fetch(new URL('/dev/config.json', page));
    if (response.ok) dev = await response.json();
  } catch {
    // No service, or not JSON: a static host answers any path with its index page.
  }
  return readConfig(page, dev);
}
