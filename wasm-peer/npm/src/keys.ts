/** Where things are and what they are called: URLs to segment keys, stream names, manifests and sidecars. */

import { TabswarmError } from './errors.js';

/** Bytes of a file, end exclusive. @internal */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

/** The page's address, or undefined where there is no page. @internal */
export function pageUrl(): URL | undefined {
  const { location } = globalThis as { location?: Location };
  try {
    return location ? new URL(location.href) : undefined;
  } catch {
    return undefined;
  }
}

function baseUrl(): string | undefined {
  const { document } = globalThis as { document?: Document };
  return document?.baseURI ?? pageUrl()?.href;
}

/** A URL as the page means it. @throws TabswarmError `invalid-url` @internal */
export function absoluteUrl(url: string | URL, base = baseUrl()): URL {
  // A `Request` would become a text, and that a relative URL.
  if (typeof url !== 'string' && url?.href === undefined) throw new TabswarmError('invalid-url', 'a text or a URL is expected');
  try {
    return new URL(url, base);
  } catch (cause) {
    throw new TabswarmError('invalid-url', `not a URL: ${String(url)}`, { cause });
  }
}

/** The range of a `Range` header with one closed range, the only kind that can be a segment's key. @internal */
export function parseRange(header: string): ByteRange | undefined {
  const [, first, last] = /^bytes=(\d{1,15})-(\d{1,15})$/.exec(header.trim()) ?? [];
  if (first === undefined || last === undefined) return undefined;
  const start = Number(first);
  const end = Number(last) + 1;
  return start < end ? { start, end } : undefined;
}

/** The default name of a stream: its master playlist's path. @internal */
export function streamName(playlist: URL): string {
  return playlist.pathname;
}

/** Where a stream's manifest is, unless an option says otherwise. @internal */
export function manifestUrl(playlist: URL): URL {
  const url = new URL(playlist);
  url.pathname += '.tabswarm';
  url.hash = '';
  return url;
}

/**
 * Where a sidecar is: beside the master playlist, with its query. A path that leads to another host gets neither, for a
 * query may hold a viewer's token.
 * @internal
 */
export function sidecarUrl(playlist: URL, path: string): URL | undefined {
  const url = new URL(path, playlist);
  if (url.origin !== playlist.origin) return undefined;
  url.search = playlist.search;
  return url;
}

function isLoopback(url: URL): boolean {
  const { hostname } = url;
  return /^127(\.\d{1,3}){3}$/.test(hostname) || hostname === '[::1]' || /(^|\.)localhost$/.test(hostname);
}

/**
 * Whether an unsigned manifest from there may be trusted: over https, from the page's own origin, or on a developer's own
 * machine. Whoever sits on the network could change any other.
 * @internal
 */
export function mayTrustUnsigned(manifest: URL, page = pageUrl()): boolean {
  if (manifest.protocol === 'https:') return true;
  if (page === undefined) return false;
  return manifest.origin === page.origin || (isLoopback(page) && isLoopback(manifest));
}
