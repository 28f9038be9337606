/** The offload figure, the bytes behind it, and the facts below: all from one `stats()`. */

import type { TabswarmStats } from 'tabswarm';
import { byId } from './dom.ts';
import { formatBytes, formatCount, formatMs, formatPercent, formatRate, UNKNOWN } from './format.ts';
import { bufferedAhead, offloadOf } from './playback.ts';
import type { Player } from './player.ts';

/** Points of percent by which the offload has to change before it is read out again. */
const SPOKEN_POINTS = 5;
/** Least time between two announcements. */
const SPOKEN_GAP_MS = 15_000;

/** One fact: its name, then its figure. */
type Fact = readonly [name: string, value: string];

function facts(stats: TabswarmStats, player: Player): readonly Fact[] {
  const { hls, video, meter } = player;
  const now = performance.now();
  const level = hls.levels[hls.currentLevel];
  const open = stats.peers.filter((peer) => peer.state === 'open').length;
  return [
    ['In the swarm', stats.viewers > 0 ? formatCount(stats.viewers, 'viewer') : UNKNOWN],
    ['Connected', formatCount(open, 'peer')],
    ['Stalls', formatCount(meter.stalls, 'stall')],
    ['Time stalled', formatMs(meter.stalledMs(now))],
    ['Start', meter.startMs === null ? UNKNOWN : formatMs(meter.startMs)],
    ['Buffer', formatMs(bufferedAhead(video.buffered, video.currentTime) * 1000)],
    ['Quality', level ? `${level.height}p, ${formatRate(level.bitrate / 8)}` : UNKNOWN],
    ['wasm memory', formatBytes(stats.wasmMemoryBytes)],
    ['Verified', formatCount(stats.verifiedGroups, 'group')],
    ['Rejected', formatCount(stats.badGroups, 'group')],
    ['Control in', formatBytes(stats.controlBytesIn)],
    ['Control out', formatBytes(stats.controlBytesOut)],
  ];
}

const MODE_TEXT = { p2p: 'P2P', http: 'HTTP only', off: 'P2P off' } as const satisfies Record<TabswarmStats['mode'], string>;

/** The figures at the top of the page. */
export class Figures {
  readonly #values = new Map<string, HTMLElement>();
  #spoken = { share: -1, atMs: Number.NEGATIVE_INFINITY };

  /** Shows these figures. */
  update(stats: TabswarmStats, player: Player): void {
    const { originBytes, peerBytes, uploadBytes } = stats;
    const share = offloadOf(originBytes, peerBytes);
    const any = originBytes + peerBytes > 0;
    byId('offload-value').textContent = any ? formatPercent(share) : UNKNOWN;
    this.#showPart('split-peers', any ? share : 0);
    this.#showPart('split-origin', any ? 1 - share : 0);
    byId('bytes-peers').textContent = formatBytes(peerBytes);
    byId('bytes-origin').textContent = formatBytes(originBytes);
    byId('bytes-upload').textContent = formatBytes(uploadBytes);
    byId('peers-summary').textContent = formatCount(stats.peers.length, 'peer');
    byId('status-mode').textContent = MODE_TEXT[stats.mode];
    byId('status-mode').dataset['state'] = stats.mode;
    byId('status-signaling').textContent = `signaling ${stats.signaling}`;
    byId('status-signaling').dataset['state'] = stats.signaling;
    for (const [name, value] of facts(stats, player)) this.#showFact(name, value);
    if (any) this.#speak(share, performance.now());
  }

  #showPart(id: string, share: number): void {
    byId(id).style.flexGrow = String(share);
    // Nothing has no gap beside it either.
    byId(id).hidden = share === 0;
  }

  #showFact(name: string, value: string): void {
    let element = this.#values.get(name);
    if (!element) {
      const [pair, term] = [document.createElement('div'), document.createElement('dt')];
      element = document.createElement('dd');
      term.textContent = name;
      pair.append(term, element);
      byId('facts').append(pair);
      this.#values.set(name, element);
    }
    if (element.textContent !== value) element.textContent = value;
  }

  /** A screen reader hears the figure when it has moved, not every second. */
  #speak(share: number, nowMs: number): void {
    const moved = Math.abs(share - this.#spoken.share) * 100 >= SPOKEN_POINTS;
    if (!moved || nowMs - this.#spoken.atMs < SPOKEN_GAP_MS) return;
    this.#spoken = { share, atMs: nowMs };
    byId('offload-live').textContent = `${formatPercent(share)} of the video came from viewers`;
  }
}
