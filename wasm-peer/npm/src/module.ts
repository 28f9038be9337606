/** The wasm module: loaded once for all instances of a page, and never called again once it has panicked. */

import { TabswarmError } from './errors.js';
import { TimeLimit } from './http.js';

/** The generated glue. @internal */
export type Glue = typeof import('./tabswarm.js');

/** The loaded module. @internal */
export interface Module {
  readonly glue: Glue;
  readonly memory: WebAssembly.Memory;
}

/** Without its module a page plays over HTTP: it waits no longer than this for it. Milliseconds. */
const LOAD_LIMIT_MS = 3000;

let loading: Promise<Module> | undefined;
let panic: string | undefined;
/** What is to be called when the module is lost. */
const losses = new Set<() => void>();

/** Whether a module could run here. */
function isRunnable(): boolean {
  return typeof WebAssembly === 'object' && typeof WebAssembly.instantiate === 'function';
}

/** Whether this environment has all that sharing needs. @internal */
export function isSupported(): boolean {
  return (
    isRunnable() &&
    typeof RTCPeerConnection === 'function' &&
    typeof WebSocket === 'function' &&
    typeof ReadableStream === 'function' &&
    typeof crypto === 'object'
  );
}

async function load(url: string | URL): Promise<Module> {
  const limit = new TimeLimit(LOAD_LIMIT_MS);
  try {
    // Both are under way at once: the glue would ask for the module only when it has come itself.
    const response = globalThis.fetch(url, { signal: limit.signal });
    response.catch(() => undefined);
    const glue = await Promise.race([import('./tabswarm.js'), limit.passed]);
    const answer = await response;
    if (!answer.ok) throw new Error(`HTTP status ${answer.status} for ${answer.url}`);
    const { memory } = await glue.default({ module_or_path: answer });
    glue.onPanic((message) => {
      panic = message;
    });
    return { glue, memory };
  } finally {
    limit.clear();
  }
}

/**
 * Loads the module, or gives the one that is loaded. A failed attempt is not remembered.
 * @throws TabswarmError `module-unavailable`, `module-failed`
 * @internal
 */
export async function loadModule(wasmUrl: string | URL | undefined): Promise<Module> {
  if (panic !== undefined) throw new TabswarmError('module-failed', panic);
  const attempt = (loading ??= load(wasmUrl ?? new URL('./tabswarm_bg.wasm', import.meta.url)));
  try {
    return await attempt;
  } catch (cause) {
    if (loading === attempt) loading = undefined;
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new TabswarmError('module-unavailable', `the wasm module could not be loaded: ${reason}`, { cause });
  }
}

/** Why the module may not be called any more. @internal */
export function panicMessage(): string | undefined {
  return panic;
}

/** Calls a function when the module is lost; the result takes that back. @internal */
export function onModuleLost(lost: () => void): () => void {
  losses.add(lost);
  return () => losses.delete(lost);
}

/** Marks the module as lost: something went through it that leaves it in an unknown state. @internal */
export function abandonModule(reason: string): string {
  panic ??= reason;
  // They stay in the set: the glue would have the module free a peer that is collected.
  for (const lost of losses) lost();
  return panic;
}
