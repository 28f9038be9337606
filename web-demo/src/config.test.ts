import { describe, expect, test } from 'vitest';
import { nextViewerUrl, readConfig, withViewer } from './config.ts';

const PAGE = 'http://127.0.0.1:8080/';
const KEY = 'ab'.repeat(32);
const DEV = { mode: 'signed', publisherKey: KEY, stream: '/sample/master.m3u8', signaling: '/swarm' };

describe('the configuration', () => {
  test('takes what the service says, with the WebSocket on the same host', () => {
    expect(readConfig(PAGE, DEV)).toEqual({
      src: new URL('http://127.0.0.1:8080/sample/master.m3u8'),
      signaling: 'ws://127.0.0.1:8080/swarm',
      mode: 'signed',
      publisherKey: KEY,
      p2p: true,
      autoplay: false,
      muted: false,
    });
  });

  test('a page over https asks for a secure WebSocket', () => {
    expect(readConfig('https://live.example/watch', DEV).signaling).toBe('wss://live.example/swarm');
  });

  test('the page query wins over the service', () => {
    const page = `${PAGE}?src=https://cdn.example/a/m.m3u8&mode=attested&key=cd&p2p=off&autoplay=1&muted=1&viewer=alice`;
    expect(readConfig(page, DEV)).toEqual({
      src: new URL('https://cdn.example/a/m.m3u8?viewer=alice'),
      signaling: 'ws://127.0.0.1:8080/swarm',
      mode: 'attested',
      publisherKey: 'cd',
      p2p: false,
      autoplay: true,
      muted: true,
      viewer: 'alice',
    });
  });

  test('without a service there is no signaling and the sample is played', () => {
    for (const dev of [undefined, null, 'text', 7, { mode: 'other', signaling: 3, publisherKey: '' }]) {
      const { src, signaling, mode, publisherKey } = readConfig(PAGE, dev);
      expect([src.pathname, signaling, mode, publisherKey]).toEqual(['/sample/master.m3u8', undefined, undefined, undefined]);
    }
  });
});

test('the viewer joins the query and leaves the rest of it alone', () => {
  expect(withViewer('https://cdn.example/s.m4s?token=x', 'a b')).toBe('https://cdn.example/s.m4s?token=x&viewer=a+b');
  expect(withViewer('https://cdn.example/s.m4s?viewer=old', 'new')).toBe('https://cdn.example/s.m4s?viewer=new');
});

test('another viewer has the same page, and a name of its own if names are used', () => {
  expect(nextViewerUrl(`${PAGE}?p2p=off`)).toBe(`${PAGE}?p2p=off`);
  const second = nextViewerUrl(`${PAGE}?viewer=alice&mode=origin`, () => 0.5);
  expect(second).toBe(`${PAGE}?viewer=alice-i000&mode=origin`);
  expect(nextViewerUrl(second, () => 0)).toBe(`${PAGE}?viewer=alice-0000&mode=origin`);
});
