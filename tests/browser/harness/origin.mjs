// @ts-check
/**
 * The origin of the tests: a web server that serves directories as a CDN does (Range, CORS, a token on every URL of a
 * playlist), counts the body bytes that left the socket by viewer and path, and is slow or fails where a test wants it to.
 */

import { readFileSync, statSync } from 'node:fs';
import http from 'node:http';
import { extname, join, normalize } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Cap } from './cap.mjs';
import { HLS_MODULE, NPM_DIST, PAGE_DIR } from './paths.mjs';

/** Bytes of one write: a test that cuts or slows a body works to this grain. */
const SLICE = 16 * 1024;

/** @type {Record<string, string>} */
const TYPES = {
  '.css': 'text/css',
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript',
  '.json': 'application/json',
  '.m3u8': 'application/vnd.apple.mpegurl',
  '.m4s': 'video/iso.segment',
  '.mjs': 'text/javascript',
  '.mp4': 'video/mp4',
  '.svg': 'image/svg+xml',
  '.ts': 'video/mp2t',
  '.wasm': 'application/wasm',
};

/**
 * What goes wrong with requests for a path.
 * @typedef {object} Fault
 * @property {RegExp} path
 * @property {string} [viewer] only this viewer's requests
 * @property {number} [times] this often, then no more; default: always
 * @property {number} [status] answers with this status and a short text
 * @property {number} [bytesPerSecond] sends slowly
 * @property {number} [stallAfter] sends this many bytes and then nothing, the connection left open
 * @property {number} [cutAfter] announces the whole body, sends this many bytes and breaks the connection
 * @property {boolean} [ignoreRange] answers a Range request with 200 and the whole file
 * @property {boolean} [hideContentRange] does not expose Content-Range to other origins' pages
 * @property {number} [flipByteAt] sends a wrong byte at this offset of the file
 */

/**
 * One request and what became of it.
 * @typedef {object} Served
 * @property {string} method
 * @property {string} host the Host header
 * @property {string} path
 * @property {string} query
 * @property {string | null} viewer
 * @property {http.IncomingHttpHeaders} headers
 * @property {number} status
 * @property {number} bodyBytes that left the socket
 */

/**
 * Puts the query of a playlist's request on every URI in it, as a CDN with tokens does.
 * @param {string} playlist
 * @param {string} query with its `?`, or empty
 */
function tokenise(playlist, query) {
  if (!query) return playlist;
  return playlist
    .split('\n')
    .map((line) => {
      if (line.startsWith('#')) return line.replace(/URI="([^"]*)"/, (_, uri) => `URI="${uri}${query}"`);
      return line.trim() ? `${line.trim()}${query}` : line;
    })
    .join('\n');
}

/** A query without what it asks of a playlist (draft-pantos-hls-rfc8216bis §6.2.5). @param {string} query */
function tokenOf(query) {
  const token = new URLSearchParams(query);
  for (const name of [...token.keys()]) if (name.startsWith('_HLS_')) token.delete(name);
  return token.size > 0 ? `?${token}` : '';
}

/**
 * @param {string | undefined} header
 * @param {number} size
 * @returns {{ start: number, end: number } | 'unsatisfiable' | null} `end` is exclusive
 */
function parseRange(header, size) {
  const match = /^bytes=(\d*)-(\d*)$/.exec(header ?? '');
  if (!match || (!match[1] && !match[2])) return null;
  const start = match[1] ? Number(match[1]) : Math.max(0, size - Number(match[2]));
  const end = match[1] && match[2] ? Math.min(size, Number(match[2]) + 1) : size;
  return start < end ? { start, end } : 'unsatisfiable';
}

/** The server. */
export class Origin {
  /** @type {Served[]} every request for a mounted path */
  served = [];
  /** @type {Map<string, string>} URL prefix to directory or file */
  #mounts = new Map();
  /** @type {Map<string, (query: URLSearchParams) => string | Promise<string>>} path to what is made anew for each request */
  #texts = new Map();
  /** @type {Fault[]} */
  #faults = [];
  /** @type {http.Server[]} */
  #servers = [];
  /** @type {Set<string>} prefixes whose requests are counted */
  #counted = new Set();
  /** @type {{ cap?: Cap, delayMs?: number }} */
  #line = {};
  /** @type {((served: Served, bytes: number) => void) | undefined} hears of each slice of a counted body that left */
  onSent;

  /**
   * Serves the test page, hls.js and the npm package's build, and `media` (URL prefix to directory) as the stream.
   * @param {Record<string, string>} media
   */
  static async start(media) {
    const origin = new Origin();
    origin.mount('/page/', PAGE_DIR).mount('/npm/', `${NPM_DIST}/`).mount('/vendor/hls.mjs', HLS_MODULE);
    for (const [prefix, dir] of Object.entries(media)) origin.mountMedia(prefix, dir);
    await origin.listen();
    return origin;
  }

  /** @param {string} prefix @param {string} target directory with a trailing slash, or a file */
  mount(prefix, target) {
    this.#mounts.set(prefix, target);
    return this;
  }

  /** @param {string} prefix @param {string} dir */
  mountMedia(prefix, dir) {
    this.#counted.add(prefix);
    return this.mount(prefix, dir.endsWith('/') ? dir : `${dir}/`);
  }

  /**
   * Answers a path with what `text` says at the time, in place of a file.
   * @param {string} path
   * @param {(query: URLSearchParams) => string | Promise<string>} text it may have the request wait
   */
  mountText(path, text) {
    this.#texts.set(path, text);
    return this;
  }

  /**
   * The line to the counted paths: one rate for all requests together, and how long each answer takes to begin.
   * @param {{ bytesPerSecond?: number, delayMs?: number }} line
   */
  limit({ bytesPerSecond, delayMs }) {
    this.#line = { ...(bytesPerSecond && { cap: new Cap(bytesPerSecond) }), delayMs };
  }

  /** One more port: with another name for the machine it is another host to a browser. */
  async listen() {
    const server = http.createServer((request, response) => {
      this.#handle(request, response).catch(() => response.destroy());
    });
    await new Promise((resolve) => server.listen(0, '127.0.0.1', () => resolve(undefined)));
    this.#servers.push(server);
    return this.#servers.length - 1;
  }

  /**
   * Base URL without a trailing slash.
   * @param {{ port?: number, name?: string }} [host] which port, in the order of `listen`, under which name
   */
  url({ port = 0, name = '127.0.0.1' } = {}) {
    const address = this.#servers[port].address();
    if (!address || typeof address === 'string') throw new Error('not listening');
    return `http://${name}:${address.port}`;
  }

  /** The test page. */
  get page() {
    return `${this.url()}/page/page.html`;
  }

  /** @param {Fault} fault */
  addFault(fault) {
    this.#faults.push({ ...fault });
  }

  /** Everything works from now on. */
  clearFaults() {
    this.#faults = [];
  }

  /**
   * The file behind a URL's path.
   * @param {string} path
   */
  fileOf(path) {
    for (const [prefix, target] of this.#mounts) {
      if (path === prefix) return target;
      if (!prefix.endsWith('/') || !path.startsWith(prefix)) continue;
      const rest = normalize(path.slice(prefix.length));
      if (!rest.startsWith('..')) return join(target, rest);
    }
    return undefined;
  }

  /**
   * Body bytes that left the socket.
   * @param {{ viewer?: string | null, path?: RegExp }} [filter]
   */
  bytes({ viewer, path } = {}) {
    return this.requests({ viewer, path }).reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  }

  /**
   * Counted requests.
   * @param {{ viewer?: string | null, path?: RegExp }} [filter]
   */
  requests({ viewer, path } = {}) {
    return this.served.filter(
      (request) => (viewer === undefined || request.viewer === viewer) && (!path || path.test(request.path)),
    );
  }

  /** Stops listening and breaks what is open. */
  async stop() {
    for (const server of this.#servers) {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(() => resolve(undefined)));
    }
  }

  /** @param {http.IncomingMessage} request @param {http.ServerResponse} response */
  async #handle(request, response) {
    const url = new URL(request.url ?? '/', 'http://origin');
    const path = decodeURIComponent(url.pathname);
    const viewer = url.searchParams.get('viewer');
    /** @type {Served} */
    const served = {
      method: request.method ?? '',
      host: request.headers.host ?? '',
      path,
      query: url.search,
      viewer,
      headers: request.headers,
      status: 0,
      bodyBytes: 0,
    };
    const counted = [...this.#counted].some((prefix) => path.startsWith(prefix));
    if (counted) this.served.push(served);
    if (counted && this.#line.delayMs) await delay(this.#line.delayMs);
    const fault = this.#faultFor(path, viewer);
    response.setHeader('Access-Control-Allow-Origin', '*');
    response.setHeader('Access-Control-Allow-Headers', 'Range');
    if (!fault?.hideContentRange) {
      response.setHeader('Access-Control-Expose-Headers', 'Content-Length, Content-Range');
    }
    // A cached body would not be counted, and a re-fetch would not reach the origin.
    response.setHeader('Cache-Control', 'no-store');
    if (request.method === 'OPTIONS') return void response.writeHead(204).end();
    const body = fault?.status ? undefined : await this.#read(path, url);
    if (!body) {
      served.status = fault?.status ?? 404;
      response.writeHead(served.status, { 'Content-Type': 'text/plain' });
      return void response.end('no\n');
    }
    await this.#send(request, response, body, served, { fault, counted });
  }

  /** @param {string} path @param {URL} url */
  async #read(path, { search, searchParams }) {
    const text = this.#texts.get(path);
    if (text) return Buffer.from(tokenise(await text(searchParams), tokenOf(search)));
    const file = this.fileOf(path);
    if (!file || !statSync(file, { throwIfNoEntry: false })?.isFile()) return undefined;
    const content = readFileSync(file);
    return extname(file) === '.m3u8' ? Buffer.from(tokenise(content.toString(), search)) : content;
  }

  /** @param {string} path @param {string | null} viewer */
  #faultFor(path, viewer) {
    const fault = this.#faults.find(
      (one) => one.times !== 0 && one.path.test(path) && (one.viewer === undefined || one.viewer === viewer),
    );
    if (fault?.times !== undefined) fault.times -= 1;
    return fault;
  }

  /**
   * @param {http.IncomingMessage} request
   * @param {http.ServerResponse} response
   * @param {Buffer} content
   * @param {Served} served
   * @param {{ fault: Fault | undefined, counted: boolean }} how
   */
  async #send(request, response, content, served, how) {
    const { fault } = how;
    const asked = fault?.ignoreRange ? null : parseRange(request.headers.range, content.length);
    response.setHeader('Content-Type', TYPES[extname(served.path)] ?? 'application/octet-stream');
    response.setHeader('Accept-Ranges', 'bytes');
    if (asked === 'unsatisfiable') {
      served.status = 416;
      return void response.writeHead(416, { 'Content-Range': `bytes */${content.length}` }).end();
    }
    const { start, end } = asked ?? { start: 0, end: content.length };
    const body = Buffer.from(content.subarray(start, end));
    const flip = (fault?.flipByteAt ?? -1) - start;
    if (flip >= 0 && flip < body.length) body[flip] ^= 1;
    served.status = asked ? 206 : 200;
    if (asked) response.setHeader('Content-Range', `bytes ${start}-${end - 1}/${content.length}`);
    response.writeHead(served.status, { 'Content-Length': body.length });
    if (request.method === 'HEAD') return void response.end();
    await this.#sendBody(response, body, served, how);
  }

  /**
   * @param {http.ServerResponse} response
   * @param {Buffer} body
   * @param {Served} served
   * @param {{ fault: Fault | undefined, counted: boolean }} how
   */
  async #sendBody(response, body, served, { fault, counted }) {
    const stop = Math.min(body.length, fault?.cutAfter ?? fault?.stallAfter ?? body.length);
    for (let at = 0; at < stop && !response.destroyed; at += SLICE) {
      const slice = body.subarray(at, Math.min(at + SLICE, stop));
      if (counted) await this.#line.cap?.take(slice.length);
      if (response.destroyed) break;
      // The callback of a write comes when the bytes were given to the kernel.
      await new Promise((resolve) => {
        response.once('close', resolve);
        response.write(slice, (error) => {
          if (!error) {
            served.bodyBytes += slice.length;
            if (counted) this.onSent?.(served, slice.length);
          }
          response.off('close', resolve);
          resolve(undefined);
        });
      });
      if (fault?.bytesPerSecond) await delay((slice.length / fault.bytesPerSecond) * 1000);
    }
    if (fault?.stallAfter !== undefined) return;
    if (fault?.cutAfter !== undefined) response.socket?.resetAndDestroy();
    else response.end();
  }
}
