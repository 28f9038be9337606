/** The page: starts the player and shows, once a second, where the video comes from. */

import Hls from 'hls.js';
import { RateChart } from './chart.ts';
import { type DemoConfig, loadConfig, nextViewerUrl } from './config.ts';
import { byId } from './dom.ts';
import { Figures } from './figures.ts';
import { PeerGraph } from './graph.ts';
import { EventLog } from './log.ts';
import { type Player, startPlayer } from './player.ts';
import { BIN_MS, RateSeries } from './series.ts';
import { PeerTable } from './table.ts';

declare global {
  interface Window {
    /** For automated tests: the live parts, and the balance. */
    tabswarmDemo?: Player;
  }
}

function showNotice(text: string): void {
  const notice = byId('player-notice');
  notice.textContent = text;
  notice.hidden = false;
}

function wireSwitch(player: Player, config: DemoConfig): void {
  const button = byId<HTMLButtonElement>('p2p');
  let on = config.p2p;
  const show = (): void => {
    button.setAttribute('aria-checked', String(on));
    byId('p2p-text').textContent = on ? 'P2P on' : 'P2P off';
  };
  button.addEventListener('click', () => {
    on = !on;
    if (on) player.swarm.enable();
    else player.swarm.disable();
    show();
  });
  button.disabled = false;
  show();
}

function wireChrome(config: DemoConfig): void {
  // Without an opener the new tab gets a process of its own, as a real viewer's has.
  byId('open-viewer').addEventListener('click', () => window.open(nextViewerUrl(location.href), '_blank', 'noopener'));
  byId('status-roots').textContent = config.mode ? `${config.mode} roots` : 'roots by default';
  if (!config.viewer) return;
  document.title = `${config.viewer} · tabswarm`;
  byId('viewer').textContent = config.viewer;
  byId('viewer').hidden = false;
}

function showEverySecond(player: Player): void {
  const series = new RateSeries();
  const figures = new Figures();
  const chart = new RateChart(byId('chart'), byId('chart-legend'), byId('chart-when'));
  const graph = new PeerGraph(byId('graph'), byId('graph-summary'));
  const table = new PeerTable(byId('peers'), byId('peers-empty'));
  const tick = (): void => {
    const stats = player.swarm.stats();
    series.push(stats, performance.now());
    // Nobody sees a hidden tab: only its history goes on.
    if (document.hidden) return;
    figures.update(stats, player);
    chart.update(series.bins);
    graph.update(
      stats.peers
        .filter((peer) => peer.state !== 'closed')
        .map((peer) => ({ id: peer.id, connected: peer.state === 'open', rateIn: peer.rateInBps, rateOut: peer.rateOutBps })),
      series.bins.at(-1)?.origin ?? 0,
    );
    table.update(stats.peers.map((peer) => ({ ...peer, rateIn: peer.rateInBps, rateOut: peer.rateOutBps })));
  };
  document.addEventListener('visibilitychange', tick);
  setInterval(tick, BIN_MS);
  tick();
}

async function main(): Promise<void> {
  const startedMs = performance.now();
  const log = new EventLog(byId('log'), byId('log-summary'));
  const config = await loadConfig(location.href);
  wireChrome(config);
  const video = byId<HTMLVideoElement>('video');
  if (!Hls.isSupported()) {
    showNotice('This browser has no Media Source Extensions: it plays HLS by itself, without viewers helping.');
    video.src = config.src.href;
    return;
  }
  log.add('info', `playing ${config.src.pathname}`);
  const player = await startPlayer(config, { video, log, notice: showNotice }, startedMs);
  window.tabswarmDemo = player;
  wireSwitch(player, config);
  showEverySecond(player);
}

main().catch((error: unknown) => showNotice(`The page could not start: ${String(error)}`));
