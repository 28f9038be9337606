import { afterEach, describe, expect, test, vi } from 'vitest';
import { resolveOptions, type TabswarmOptions } from '../src/options.js';

const KEY = 'd75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a';

describe('options', () => {
  test('all have defaults', () => {
    expect(resolveOptions({})).toMatchObject({
      signaling: undefined,
      roots: 'attested',
      signedMismatch: 'refuse',
      consent: 'auto',
      start: 'playback',
      cacheLimitBytes: 134_217_728,
      persist: false,
      persistLimitBytes: 536_870_912,
      uploadLimit: undefined,
      policy: { metered: 'download-only', hidden: 'full', lowBattery: 'download-only' },
      lan: 'auto',
    });
  });

  test.each([
    [{ deviceMemory: 8 }, 128],
    [{ deviceMemory: 4 }, 128],
    [{ deviceMemory: 2 }, 64],
    [{ deviceMemory: 1 }, 32],
    [{ deviceMemory: 0.25 }, 16],
    [{ userAgent: 'Mozilla/5.0 (Android 16; Mobile; rv:150.0) Firefox/150.0' }, 64],
    [{ deviceMemory: 8, userAgent: 'Mozilla/5.0 (Linux; Android 16) Chrome/156.0.0.0 Mobile Safari/537.36' }, 128],
    [{ userAgent: 'Mozilla/5.0 (X11; Linux x86_64; rv:150.0) Firefox/150.0' }, 128],
  ])('the memory of %j makes %i MiB the default for segments', (navigator, mib) => {
    vi.stubGlobal('navigator', navigator);
    expect(resolveOptions({}).cacheLimitBytes).toBe(mib * 1024 * 1024);
    expect(resolveOptions({ cacheLimitBytes: 5 }).cacheLimitBytes).toBe(5);
  });

  test('issuers are pinned in either case of their digits', () => {
    expect(resolveOptions({ issuerKeys: [KEY.toUpperCase(), KEY] }).issuerKeys).toEqual([KEY, KEY]);
  });

  test('a policy changes the rules it names', () => {
    expect(resolveOptions({ policy: { metered: 'off' } }).policy).toEqual({
      metered: 'off', hidden: 'full', lowBattery: 'download-only',
    });
  });

  test("a publisher's key makes it signed, in either case of its digits", () => {
    expect(resolveOptions({ publisherKey: KEY.toUpperCase() })).toMatchObject({ roots: 'signed', publisherKey: KEY });
  });

  test.each<[string, string, object]>([
    ['signaling', 'ws:', { signaling: 'https://swarm.example' }],
    ['signaling', 'not a URL', { signaling: 'swarm' }],
    ['signaling', 'fragment', { signaling: 'wss://swarm.example/#a' }],
    ['publisherKey', '64 hexadecimal', { publisherKey: KEY.slice(2) }],
    ['publisherKey', 'longer', { publisherKey: `${KEY}00` }],
    ['publisherKey', 'needs it', { roots: 'signed' }],
    ['publisherKey', 'does not use it', { roots: 'origin', publisherKey: KEY }],
    ['roots', "'signed', 'origin', 'attested'", { roots: 'magic' }],
    ['consent', "'auto', 'manual'", { consent: true }],
    ['start', "'playback', 'economy'", { start: 'later' }],
    ['signedMismatch', "'refuse', 'deliver'", { signedMismatch: 'ignore' }],
    ['persist', 'true or false', { persist: 1 }],
    ['persistLimitBytes', 'whole number', { persistLimitBytes: 0.5 }],
    ['cacheLimitBytes', 'whole number', { cacheLimitBytes: -1 }],
    ['cacheLimitBytes', 'whole number', { cacheLimitBytes: '1 MB' }],
    ['lan', 'one of', { lan: true as unknown as 'auto' }],
    ['maxConnections', '1 to 60', { maxConnections: 0 }],
    ['maxConnections', '1 to 60', { maxConnections: 61 }],
    ['maxConnections', 'whole number', { maxConnections: 2.5 }],
    ['uploadLimit', 'whole number of bytes a second', { uploadLimit: 0.5 }],
    ['policy', 'an object', { policy: 'off' }],
    ['policy.metered', "'full', 'download-only', 'off'", { policy: { metered: 'never' } }],
    ['policy.battery', 'none of this name', { policy: { battery: 'off' } }],
    ['policy.toString', 'none of this name', { policy: { toString: 'off' } }],
    ['stream', 'not empty', { stream: '' }],
    ['token', 'longer than 4096', { token: 'x'.repeat(4097) }],
    ['segmentKey', 'function', { segmentKey: '/a' }],
    ['iceServers', 'list', { iceServers: {} }],
    ['issuerKeys', 'one or two', { issuerKeys: [] }],
    ['issuerKeys', 'one or two', { issuerKeys: KEY }],
    ['issuerKeys', '64 hexadecimal', { issuerKeys: [KEY, 'key'] }],
    ['issuerKeys', 'missing', { issuerKeys: [undefined] }],
    ['signalling', 'none of this name', { signalling: 'wss://swarm.example' }],
  ])('%s that can not be right says so: %s', (option, problem, options) => {
    const attempt = () => resolveOptions(options as TabswarmOptions);
    expect(attempt).toThrow(expect.objectContaining({ name: 'TabswarmError', code: 'invalid-option' }));
    expect(attempt).toThrow(`option ${option}: `);
    expect(attempt).toThrow(problem);
  });
});

describe('ICE servers', () => {
  /** A browser whose connections fail so. */
  function failing(name: string): void {
    vi.stubGlobal('RTCPeerConnection', class {
      constructor() {
        throw new DOMException('the reason', name);
      }
    });
  }
  afterEach(() => vi.unstubAllGlobals());
  const iceServers = [{ urls: 'stun.example' }];

  test('that the browser refuses say so', () => {
    failing('SyntaxError');
    const attempt = () => resolveOptions({ iceServers });
    expect(attempt).toThrow(expect.objectContaining({ code: 'invalid-option' }));
    expect(attempt).toThrow('option iceServers: the reason');
  });

  test('are not to blame where there can be no more connections', () => {
    failing('UnknownError');
    expect(resolveOptions({ iceServers })).toMatchObject({ iceServers });
  });

  test('are tried on a connection that is closed again', () => {
    const close = vi.fn();
    const made = vi.fn();
    vi.stubGlobal('RTCPeerConnection', class {
      close = close;
      constructor(configuration: RTCConfiguration) {
        made(configuration);
      }
    });
    expect(resolveOptions({ iceServers })).toMatchObject({ iceServers });
    expect(made).toHaveBeenCalledWith({ iceServers });
    expect(close).toHaveBeenCalledOnce();
  });
});
