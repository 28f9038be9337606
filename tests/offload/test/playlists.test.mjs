// @ts-check
/** The live playlist by the clock. */

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { completeSegments, LIVE_SEGMENTS, LIVE_WINDOW, liveEpochMs, livePlaylist, SEGMENT_SECONDS, vodPlaylist } from '../content/playlists.mjs';

const BEGAN_MS = 1_000_000;
const after = (/** @type {number} */ segments) => BEGAN_MS + segments * SEGMENT_SECONDS * 1000;
const listed = (/** @type {string} */ playlist) => playlist.match(/^segment-\d+\.m4s$/gm) ?? [];

test('a segment is listed when it is complete', () => {
  assert.equal(completeSegments(BEGAN_MS, after(10) - 1), 9);
  assert.equal(completeSegments(BEGAN_MS, after(10)), 10);
  assert.equal(listed(livePlaylist(BEGAN_MS, after(10) - 1)).at(-1), 'segment-08.m4s');
  assert.equal(listed(livePlaylist(BEGAN_MS, after(10))).at(-1), 'segment-09.m4s');
});

test('the playlist slides and says where it is', () => {
  const playlist = livePlaylist(BEGAN_MS, after(20));
  assert.equal(listed(playlist).length, LIVE_WINDOW);
  assert.match(playlist, /^#EXT-X-MEDIA-SEQUENCE:12$/m);
  assert.match(playlist, new RegExp(`^#EXT-X-PROGRAM-DATE-TIME:${new Date(after(12)).toISOString()}$`, 'm'));
});

test('a run begins with a full playlist', () => {
  const nowMs = 5_000_000;
  assert.equal(completeSegments(liveEpochMs(nowMs), nowMs), LIVE_WINDOW);
});

test('the end is said after the last segment was listed, and lists no new one', () => {
  const [last, end] = [after(LIVE_SEGMENTS), after(LIVE_SEGMENTS + 1)].map((nowMs) => livePlaylist(BEGAN_MS, nowMs));
  assert.doesNotMatch(last, /ENDLIST/);
  assert.match(end, /ENDLIST/);
  assert.deepEqual(listed(end), listed(last));
});

test('a stream on demand lists everything', () => {
  assert.equal(listed(vodPlaylist(30)).length, 30);
});
