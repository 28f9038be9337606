import { describe, expect, test } from 'vitest';
import { TabswarmError } from '../src/errors.js';
import { absoluteUrl, manifestUrl, mayTrustUnsigned, parseRange, sidecarUrl, streamName } from '../src/keys.js';

const MASTER = new URL('https://cdn.example/vod/film/master.m3u8?token=secret');

describe('names and places', () => {
  test('a stream is named by the path of its playlist, without host and query', () => {
    expect(streamName(MASTER)).toBe('/vod/film/master.m3u8');
  });

  test('the manifest is behind the path, the query kept', () => {
    expect(manifestUrl(MASTER).href).toBe('https://cdn.example/vod/film/master.m3u8.tabswarm?token=secret');
  });

  test('a sidecar is relative to the playlist, with its query', () => {
    expect(sidecarUrl(MASTER, 'low.tabswarm')?.href).toBe('https://cdn.example/vod/film/low.tabswarm?token=secret');
    expect(sidecarUrl(MASTER, '/lists/low')?.href).toBe('https://cdn.example/lists/low?token=secret');
  });

  test('a sidecar path that leads to another host gets no token', () => {
    expect(sidecarUrl(MASTER, '//elsewhere.example/low')).toBeUndefined();
    expect(sidecarUrl(MASTER, 'https://elsewhere.example/low')).toBeUndefined();
  });

  test('what is no URL has a code', () => {
    expect(() => absoluteUrl('http://')).toThrow(TabswarmError);
    expect(() => absoluteUrl('seg.ts', undefined)).toThrow(expect.objectContaining({ code: 'invalid-url' }));
  });
});

describe('ranges', () => {
  test('one closed range is a key, its end exclusive', () => {
    expect(parseRange('bytes=0-0')).toEqual({ start: 0, end: 1 });
    expect(parseRange(' bytes=16384-32767 ')).toEqual({ start: 16384, end: 32768 });
  });

  test.each(['bytes=5-', 'bytes=-5', 'bytes=0-1,3-4', 'bytes=9-3', 'items=0-1', 'bytes=0x1-2', ''])('%j is none', (header) => {
    expect(parseRange(header)).toBeUndefined();
  });
});

describe('an unsigned manifest is trusted', () => {
  const manifest = (url: string) => new URL(url);

  test('over https, whatever the page', () => {
    expect(mayTrustUnsigned(manifest('https://cdn.example/m'), manifest('http://page.example/'))).toBe(true);
  });

  test('from the page itself', () => {
    expect(mayTrustUnsigned(manifest('http://page.example/m'), manifest('http://page.example/watch'))).toBe(true);
  });

  test('between ports of one machine', () => {
    for (const page of ['http://localhost:8080/', 'http://127.0.0.1:8080/', 'http://[::1]/', 'http://a.localhost/']) {
      expect(mayTrustUnsigned(manifest('http://127.0.0.1:9000/m'), manifest(page))).toBe(true);
    }
  });

  test('but not over plain HTTP from elsewhere', () => {
    expect(mayTrustUnsigned(manifest('http://cdn.example/m'), manifest('http://page.example/'))).toBe(false);
    expect(mayTrustUnsigned(manifest('http://cdn.example/m'), manifest('http://localhost/'))).toBe(false);
    expect(mayTrustUnsigned(manifest('http://127.0.0.1.example/m'), manifest('http://localhost/'))).toBe(false);
    expect(mayTrustUnsigned(manifest('http://cdn.example/m'), undefined)).toBe(false);
  });
});
