/** hls.js with tabswarm attached, and the log and meters that listen to both. */

import Hls, { type HlsConfig } from 'hls.js';
import { Tabswarm, type TabswarmOptions } from 'tabswarm/hls';
import { type DemoConfig, withViewer } from './config.ts';
import { fileName, formatBytes, formatCount, formatMs, formatPercent, shortId } from './format.ts';
import type { EventLog } from './log.ts';
import { METERED_EVENTS, offloadOf, playableAhead, playedSeconds, StallMeter } from './playback.ts';
import { type DemoReport, MAX_ERRORS, MAX_SEGMENTS, RecentList, type SegmentRecord } from './report.ts';

/** The page's player: what it is made of, and how it did. */
export interface Player {
  readonly swarm: Tabswarm;
  readonly hls: Hls;
  readonly video: HTMLVideoElement;
  readonly meter: StallMeter;
  report(): DemoReport;
}

/** The page's parts that a player writes to. */
export interface PlayerSinks {
  readonly video: HTMLVideoElement;
  readonly log: EventLog;
  /** Tells the viewer why nothing plays, in the player's place. */
  readonly notice: (text: string) => void;
}

function swarmOptions(config: DemoConfig): TabswarmOptions {
  // The service tells its key in every mode; it means something only where a signature is asked for.
  const publisherKey = config.mode === undefined || config.mode === 'signed' ? config.publisherKey : undefined;
  return {
    // Turned off from the start means: no connection before the switch is used.
    consent: config.p2p ? 'auto' : 'manual',
    ...(config.signaling !== undefined && { signaling: config.signaling }),
    ...(config.mode !== undefined && { roots: config.mode }),
    ...(publisherKey !== undefined && { publisherKey }),
  };
}

/**
 * Names the viewer on every request: a query on the master playlist's URL is lost by the relative URLs inside it. Both
 * hls.js and tabswarm's loader ask the URL that `xhrSetup` opens; segment keys ignore its query.
 */
function hlsConfig({ viewer }: DemoConfig): Partial<HlsConfig> {
  if (viewer === undefined) return {};
  return { xhrSetup: (xhr, url) => xhr.open('GET', withViewer(url, viewer), true) };
}

/** Sets up the player and starts loading. `startedMs`: when the page began (monotonic). */
export async function startPlayer(config: DemoConfig, sinks: PlayerSinks, startedMs: number): Promise<Player> {
  const { video, log, notice } = sinks;
  const meter = new StallMeter(startedMs, config.autoplay);
  const segments = new RecentList<SegmentRecord>(MAX_SEGMENTS);
  const errors = new RecentList<string>(MAX_ERRORS);
  const fail = (source: string, message: string): void => {
    errors.push(`${source}: ${message}`);
    log.add('error', `${source}: ${message}`);
  };
  for (const name of METERED_EVENTS) {
    video.addEventListener(name, () => meter.handle(name, performance.now(), playableAhead(video)));
  }
  window.addEventListener('error', (event) => fail('page', event.message));
  window.addEventListener('unhandledrejection', (event) => fail('page', String(event.reason)));

  const swarm = await Tabswarm.create(swarmOptions(config));
  logSwarm(swarm, log, segments, fail);
  const hls = new Hls(hlsConfig(config));
  swarm.attach(hls);
  watchHls(hls, log, fail, notice);

  video.muted = config.muted;
  hls.attachMedia(video);
  hls.loadSource(config.src.href);
  if (config.autoplay) {
    video.play().catch(() => log.add('warning', 'the browser refused to start playback by itself: press play'));
  }

  const report = (): DemoReport => {
    const stats = swarm.stats();
    return {
      played: playedSeconds(video.played),
      stalls: meter.stalls,
      stallSeconds: meter.stalledMs(performance.now()) / 1000,
      hitches: meter.hitches,
      hitchSeconds: meter.hitchedMs(performance.now()) / 1000,
      startMs: meter.startMs,
      offload: offloadOf(stats.originBytes, stats.peerBytes),
      originBytes: stats.originBytes,
      peerBytes: stats.peerBytes,
      uploadBytes: stats.uploadBytes,
      segments: segments.items,
      ended: video.ended,
      errors: errors.items,
    };
  };
  return { swarm, hls, video, meter, report };
}

function logSwarm(
  swarm: Tabswarm,
  log: EventLog,
  segments: RecentList<SegmentRecord>,
  fail: (source: string, message: string) => void,
): void {
  swarm.addEventListener('segment-loaded', ({ detail }) => {
    const { url, bytes, fromOrigin, fromPeers, delivery, durationMs, peers } = detail;
    segments.push({ url, bytes, fromOrigin, fromPeers, delivery, durationMs });
    const trust = delivery === 'verified' ? '' : ', not shared';
    const share = formatPercent(offloadOf(fromOrigin, fromPeers));
    const source = fromPeers > 0 ? `${share} from ${formatCount(peers.length, 'viewer')}` : 'all from the origin';
    log.add('segment', `${fileName(url)}: ${formatBytes(bytes)} in ${formatMs(durationMs)}, ${source}${trust}`);
  });
  swarm.addEventListener('peer-connect', ({ detail }) => log.add('peer', `${shortId(detail.peer)} connected`));
  swarm.addEventListener('peer-close', ({ detail }) => log.add('peer', `${shortId(detail.peer)} closed: ${detail.reason}`));
  swarm.addEventListener('peer-banned', ({ detail }) => log.add('warning', `${shortId(detail.peer)} banned: ${detail.reason}`));
  swarm.addEventListener('signaling-open', () => log.add('info', 'signaling open'));
  swarm.addEventListener('signaling-close', () => log.add('warning', 'signaling closed, connected peers stay'));
  swarm.addEventListener('population', ({ detail }) => log.add('info', `viewers of this stream: ${detail.viewers}`));
  swarm.addEventListener('state', ({ detail }) => log.add('info', `mode: ${detail.mode}`));
  swarm.addEventListener('origin-mismatch', ({ detail }) => log.add('warning', `${fileName(detail.url)}: origin contradicts the root`));
  swarm.addEventListener('error', ({ detail }) => fail('tabswarm', `${detail.error.code}: ${detail.error.message}`));
}

function watchHls(
  hls: Hls,
  log: EventLog,
  fail: (source: string, message: string) => void,
  notice: (text: string) => void,
): void {
  let recovered = false;
  hls.on(Hls.Events.LEVEL_SWITCHED, (_event, { level }) => {
    const height = hls.levels[level]?.height;
    log.add('info', `quality: ${height ? `${height}p` : `level ${level}`}`);
  });
  hls.on(Hls.Events.ERROR, (_event, data) => {
    if (!data.fatal) {
      log.add('warning', `hls.js: ${data.details}`);
      return;
    }
    fail('hls.js', `${data.details}: ${data.error.message}`);
    if (data.type === Hls.ErrorTypes.MEDIA_ERROR && !recovered) {
      recovered = true;
      hls.recoverMediaError();
      return;
    }
    notice(`Playback stopped: ${data.details}. Reload to try again.`);
  });
}
