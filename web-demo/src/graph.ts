/**
 * Who this tab trades with: this tab in the centre, the origin as a square above it, viewers around it. A link's width
 * is its rate and its arrow points where the bytes go.
 */

import { onResize, svg } from './dom.ts';
import { formatCount, formatRate, shortId } from './format.ts';

/** One viewer in the graph. Rates in bytes per second. */
export interface GraphPeer {
  readonly id: string;
  readonly connected: boolean;
  readonly rateIn: number;
  readonly rateOut: number;
}

/** Viewers drawn at most; the rest is given as a number. */
export const MAX_DRAWN = 24;
/** From this many viewers on, nodes are small and carry no rates. */
const CROWDED = 11;
const ME_RADIUS = 30;
/** Space between the centres of two small nodes, in CSS pixels. */
const SMALL_PITCH = 42;

/** A place in CSS pixels. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** Width of a link in pixels: grows with the logarithm, so that 0.5 and 50 Mbit/s can both be seen. */
export function linkWidth(bytesPerSec: number): number {
  const mbits = (bytesPerSec * 8) / 1e6;
  return mbits < 0.001 ? 0 : Math.min(11, 1.2 + 1.7 * Math.log2(1 + mbits * 2));
}

/** Places for the origin (the first, at the top) and `count` viewers, evenly around an ellipse. */
export function placesAround(centre: Point, radius: Point, count: number): readonly Point[] {
  return Array.from({ length: count + 1 }, (_, i) => {
    const angle = (i / (count + 1)) * 2 * Math.PI - Math.PI / 2;
    return { x: centre.x + radius.x * Math.cos(angle), y: centre.y + radius.y * Math.sin(angle) };
  });
}

/** How many small nodes fit around an ellipse beside the origin, without touching. */
export function roomFor(radius: Point): number {
  const around = 2 * Math.PI * Math.sqrt((radius.x ** 2 + radius.y ** 2) / 2);
  return Math.max(0, Math.floor(around / SMALL_PITCH) - 1);
}

/** An arrow from the edge of one node to the edge of another, shifted sideways so that two directions don't overlap. */
function arrow(kind: string, from: Point & { r: number }, to: Point & { r: number }, width: number, shift: number): SVGElement {
  const length = Math.hypot(to.x - from.x, to.y - from.y) || 1;
  const [ux, uy] = [(to.x - from.x) / length, (to.y - from.y) / length];
  const at = (along: number, across: number): string => {
    const [x, y] = [from.x + ux * along - uy * across, from.y + uy * along + ux * across];
    return `${x.toFixed(1)} ${y.toFixed(1)}`;
  };
  const [start, tip] = [from.r + 4, length - to.r - 5];
  const head = Math.min(9 + width, Math.max(0, tip - start));
  const [half, wing] = [width / 2, width / 2 + 3.5];
  const outline = [
    at(start, shift - half),
    at(tip - head, shift - half),
    at(tip - head, shift - wing),
    at(tip, shift),
    at(tip - head, shift + wing),
    at(tip - head, shift + half),
    at(start, shift + half),
  ];
  return svg('path', { class: `fill-${kind}`, d: `M${outline.join('L')}Z` });
}

/** The graph of connections. */
export class PeerGraph {
  readonly #host: HTMLElement;
  readonly #summary: HTMLElement;
  #peers: readonly GraphPeer[] = [];
  #originRate = 0;
  #width = 0;
  #height = 0;

  constructor(host: HTMLElement, summary: HTMLElement) {
    this.#host = host;
    this.#summary = summary;
    onResize(host, (width, height) => {
      this.#width = width;
      this.#height = height;
      this.#draw();
    });
  }

  /** Shows these viewers, in an order that stays, and the rate from the origin in bytes per second. */
  update(peers: readonly GraphPeer[], originRate: number): void {
    this.#peers = peers;
    this.#originRate = originRate;
    const total = (pick: (peer: GraphPeer) => number): string => formatRate(peers.reduce((sum, peer) => sum + pick(peer), 0));
    this.#summary.textContent = `in ${total((peer) => peer.rateIn)} · out ${total((peer) => peer.rateOut)}`;
    this.#draw();
  }

  #draw(): void {
    if (this.#width < 120 || this.#height < 120) return;
    const crowded = this.#peers.length >= CROWDED;
    const r = crowded ? 13 : 21;
    const centre = { x: this.#width / 2, y: this.#height / 2 - (crowded ? 0 : 8) };
    const radius = { x: Math.min(this.#width / 2 - 50, 260), y: this.#height / 2 - (crowded ? 22 : 38) };
    const drawn = this.#peers.slice(0, Math.min(MAX_DRAWN, roomFor(radius)));
    const [originAt, ...places] = placesAround(centre, radius, drawn.length);
    const me = { ...centre, r: ME_RADIUS };
    const root = svg('svg', { width: this.#width, height: this.#height, role: 'img', 'aria-label': this.#spoken() });
    const nodes: SVGElement[] = [];
    if (originAt) {
      root.append(...this.#link({ ...originAt, r }, me, 'origin', this.#originRate, 0, true));
      nodes.push(this.#originNode(originAt, crowded));
    }
    places.forEach((place, i) => {
      const peer = drawn[i];
      if (!peer) return;
      root.append(...this.#link({ ...place, r }, me, 'peers', peer.rateIn, peer.rateOut, peer.connected));
      nodes.push(this.#peerNode(peer, place, r, crowded));
    });
    const rest = this.#peers.length - drawn.length;
    if (rest > 0) nodes.push(svg('text', { x: this.#width - 6, y: this.#height - 6, 'text-anchor': 'end' }, `+${rest} more`));
    nodes.push(svg('circle', { class: 'me', cx: me.x, cy: me.y, r: me.r }));
    nodes.push(svg('text', { class: 'on-fill', x: me.x, y: me.y + 4, 'text-anchor': 'middle' }, 'this tab'));
    root.append(...nodes);
    this.#host.replaceChildren(root);
  }

  #link(
    at: Point & { r: number },
    me: Point & { r: number },
    kind: 'origin' | 'peers',
    rateIn: number,
    rateOut: number,
    connected: boolean,
  ): SVGElement[] {
    const [wIn, wOut] = [linkWidth(rateIn), linkWidth(rateOut)];
    const base = svg('line', { class: connected ? 'link' : 'link pending', x1: at.x, y1: at.y, x2: me.x, y2: me.y });
    const apart = wIn > 0 && wOut > 0 ? (wIn + wOut) / 4 + 3.5 : 0;
    const parts: SVGElement[] = [base];
    if (wIn > 0) parts.push(arrow(kind, at, me, wIn, apart));
    if (wOut > 0) parts.push(arrow('upload', me, at, wOut, apart));
    return parts;
  }

  #originNode(at: Point, crowded: boolean): SVGElement {
    const node = svg('g', { class: 'node origin' }, svg('rect', { x: at.x - 27, y: at.y - 13, width: 54, height: 26, rx: 4 }));
    node.append(svg('text', { x: at.x, y: at.y + 4, 'text-anchor': 'middle' }, 'origin'));
    if (!crowded) node.append(svg('text', { class: 'rate', x: at.x + 35, y: at.y + 4 }, formatRate(this.#originRate)));
    return node;
  }

  #peerNode(peer: GraphPeer, at: Point, r: number, crowded: boolean): SVGElement {
    const node = svg('g', { class: peer.connected ? 'node' : 'node pending' }, svg('circle', { cx: at.x, cy: at.y, r }));
    const label = crowded ? peer.id.slice(0, 3) : peer.id.slice(0, 4);
    node.append(svg('text', { class: 'id', x: at.x, y: at.y + 4, 'text-anchor': 'middle' }, label));
    if (crowded) return node;
    const line = (text: string, row: number): SVGElement =>
      svg('text', { class: 'rate', x: at.x, y: at.y + r + 12 + row * 12, 'text-anchor': 'middle' }, text);
    if (!peer.connected) node.append(line('connecting', 0));
    else if (linkWidth(peer.rateIn) + linkWidth(peer.rateOut) === 0) node.append(line('idle', 0));
    else node.append(line(`in ${formatRate(peer.rateIn)}`, 0), line(`out ${formatRate(peer.rateOut)}`, 1));
    return node;
  }

  #spoken(): string {
    const open = this.#peers.filter((peer) => peer.connected);
    const each = open
      .slice(0, 8)
      .map((peer) => `${shortId(peer.id)} in ${formatRate(peer.rateIn)}, out ${formatRate(peer.rateOut)}`);
    return [`Connected to ${formatCount(open.length, 'viewer')}`, `origin ${formatRate(this.#originRate)}`, ...each].join('; ');
  }
}
