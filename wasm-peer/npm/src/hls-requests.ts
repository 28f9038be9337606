/**
 * How hls.js would ask the origin for a fragment: with the headers and credentials that the page's `fetchSetup` or
 * `xhrSetup` sets.
 *
 * Of `xhrSetup` only what a request can be made of counts: the URL given to `open`, headers, and `withCredentials`. Listeners
 * on the XMLHttpRequest hear nothing, for it is never sent.
 */

import type { FragmentLoaderContext, HlsConfig } from 'hls.js';

/** A request to the origin. @internal */
export interface OriginRequest {
  readonly url: string;
  readonly init: RequestInit;
}

function fromRequest(request: Request): OriginRequest {
  const { url, cache, credentials, integrity, mode, redirect, referrer, referrerPolicy } = request;
  const headers = new Headers(request.headers);
  headers.delete('range');
  const init: RequestInit = { headers, cache, credentials, integrity, redirect, referrer, referrerPolicy };
  // A request made by a page can't have the mode `navigate`, but its type says so.
  if (mode !== 'navigate') init.mode = mode;
  return { url, init };
}

async function fromXhr(xhrSetup: NonNullable<HlsConfig['xhrSetup']>, context: FragmentLoaderContext): Promise<OriginRequest> {
  const headers = new Headers(context.headers);
  let { url } = context;
  const xhr = new XMLHttpRequest();
  const open = xhr.open.bind(xhr) as (method: string, url: string | URL) => void;
  const setRequestHeader = xhr.setRequestHeader.bind(xhr);
  xhr.open = (method: string, to: string | URL) => {
    open(method, to);
    url = String(to);
  };
  xhr.setRequestHeader = (name: string, value: string) => {
    setRequestHeader(name, value);
    headers.append(name, value);
  };
  try {
    await xhrSetup(xhr, context.url, context);
  } catch {
    // As hls.js does it: set-ups that set headers want the request opened before.
    xhr.open('GET', context.url, true);
    await xhrSetup(xhr, context.url, context);
  }
  headers.delete('range');
  return { url, init: { headers, credentials: xhr.withCredentials ? 'include' : 'same-origin' } };
}

/** Makes the request for a fragment, without its range. @internal */
export function originRequest(
  context: FragmentLoaderContext,
  config: HlsConfig,
): OriginRequest | Promise<OriginRequest> {
  const headers = new Headers(context.headers);
  const { fetchSetup, xhrSetup } = config;
  if (xhrSetup) return fromXhr(xhrSetup, context);
  if (!fetchSetup) return { url: context.url, init: { headers, credentials: 'same-origin' } };
  const init: RequestInit = { method: 'GET', mode: 'cors', credentials: 'same-origin', headers };
  const request = fetchSetup(context, init);
  return request instanceof Request ? fromRequest(request) : request.then(fromRequest);
}
