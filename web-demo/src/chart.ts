/**
 * Rates over time as stacked bars: what came in stands on the zero line (peers first, the origin on top), what was
 * given away hangs below it. Drawn as one SVG path per series.
 */

import { onResize, svg } from './dom.ts';
import { formatRate, formatTick } from './format.ts';
import { BIN_MS, type Bin, MAX_BINS, niceCeiling } from './series.ts';

const SERIES = [
  { key: 'peers', label: 'From viewers' },
  { key: 'origin', label: 'From origin' },
  { key: 'upload', label: 'To viewers' },
] as const satisfies readonly { key: keyof Bin; label: string }[];

const MARGIN = { top: 8, right: 2, bottom: 22, left: 74 } as const;
/** The axis never zooms in past 1 Mbit/s, so that a trickle looks like one. In bits per second. */
const AXIS_FLOOR_BPS = 1e6;
/** The tallest bar leaves a little air above it. */
const HEADROOM = 1.06;
const TICK_MINUTES = [2, 1.5, 1, 0.5, 0] as const;
/** Below this width only whole minutes are labelled. In CSS pixels. */
const NARROW = 420;

interface Scale {
  readonly x: (index: number) => number;
  readonly y: (bytesPerSec: number) => number;
  readonly step: number;
  /** Top and bottom of the axis, in bits per second; `down` is positive. */
  readonly up: number;
  readonly down: number;
}

/** The tick distance that shows between three and seven ticks over the whole axis, in bits per second. */
function tickStep(spanBps: number): number {
  return niceCeiling(spanBps / 7, AXIS_FLOOR_BPS / 4);
}

/** The chart and its legend, which doubles as the read-out for the time under the pointer or the keyboard cursor. */
export class RateChart {
  readonly #host: HTMLElement;
  readonly #values = new Map<keyof Bin, HTMLElement>();
  readonly #when: HTMLElement;
  #bins: readonly Bin[] = [];
  #width = 0;
  #height = 0;
  /** Bins back from now that the cursor stands on; none: the newest bin is read out. */
  #cursor: number | undefined;

  constructor(host: HTMLElement, legend: HTMLElement, when: HTMLElement) {
    this.#host = host;
    this.#when = when;
    legend.append(...SERIES.map((series) => this.#legendItem(series.key, series.label)));
    host.tabIndex = 0;
    host.setAttribute('role', 'slider');
    host.setAttribute('aria-label', 'Rates over the last two minutes, by time');
    host.setAttribute('aria-valuemin', String(1 - MAX_BINS));
    host.setAttribute('aria-valuemax', '0');
    host.addEventListener('pointermove', (event) => this.#pointTo(event.offsetX));
    host.addEventListener('pointerleave', () => this.#moveTo(undefined));
    host.addEventListener('blur', () => this.#moveTo(undefined));
    host.addEventListener('keydown', (event) => this.#handleKey(event));
    onResize(host, (width, height) => {
      this.#width = width;
      this.#height = height;
      this.#draw();
    });
  }

  /** Shows these bins, oldest first. */
  update(bins: readonly Bin[]): void {
    this.#bins = bins;
    this.#draw();
  }

  #legendItem(key: keyof Bin, label: string): HTMLElement {
    const item = document.createElement('li');
    item.className = `is-${key}`;
    const value = document.createElement('b');
    this.#values.set(key, value);
    item.append(`${label} `, value);
    return item;
  }

  #pointTo(offsetX: number): void {
    const inner = this.#width - MARGIN.left - MARGIN.right;
    const index = Math.floor(((offsetX - MARGIN.left) / inner) * MAX_BINS);
    this.#moveTo(index < 0 || index >= MAX_BINS ? undefined : MAX_BINS - 1 - index);
  }

  #handleKey(event: KeyboardEvent): void {
    const back = this.#cursor ?? 0;
    const places = { ArrowLeft: back + 1, ArrowRight: back - 1, PageUp: back + 10, PageDown: back - 10, Home: MAX_BINS - 1, End: 0 };
    const next = Object.hasOwn(places, event.key) ? places[event.key as keyof typeof places] : undefined;
    if (next === undefined) return;
    event.preventDefault();
    this.#moveTo(Math.min(MAX_BINS - 1, Math.max(0, next)));
  }

  #moveTo(cursor: number | undefined): void {
    this.#cursor = cursor;
    this.#draw();
  }

  #draw(): void {
    this.#readOut();
    if (this.#width <= MARGIN.left + MARGIN.right || this.#height <= MARGIN.top + MARGIN.bottom) return;
    const scale = this.#scale();
    const root = svg('svg', { width: this.#width, height: this.#height, 'aria-hidden': 'true' });
    root.append(...this.#grid(scale), ...this.#bars(scale), ...this.#cursorMark(scale));
    this.#host.replaceChildren(root);
  }

  #scale(): Scale {
    const bits = (pick: (bin: Bin) => number): number => 8 * Math.max(0, ...this.#bins.map(pick));
    const most = { up: bits((bin) => bin.peers + bin.origin), down: bits((bin) => bin.upload) };
    const up = Math.max(AXIS_FLOOR_BPS, most.up) * HEADROOM;
    const down = Math.max(up / 8, most.down * HEADROOM);
    const step = tickStep(up + down);
    const inner = { width: this.#width - MARGIN.left - MARGIN.right, height: this.#height - MARGIN.top - MARGIN.bottom };
    const perBit = inner.height / (up + down);
    return {
      x: (index) => MARGIN.left + (index * inner.width) / MAX_BINS,
      y: (bytesPerSec) => MARGIN.top + (up - bytesPerSec * 8) * perBit,
      step,
      up,
      down,
    };
  }

  #grid(scale: Scale): SVGElement[] {
    const parts: SVGElement[] = [];
    const right = this.#width - MARGIN.right;
    for (let tick = -Math.floor(scale.down / scale.step); tick * scale.step <= scale.up; tick += 1) {
      const bps = tick * scale.step;
      const y = scale.y(bps / 8);
      parts.push(
        svg('line', { class: tick === 0 ? 'axis' : 'gridline', x1: MARGIN.left, x2: right, y1: y, y2: y }),
        svg('text', { x: MARGIN.left - 8, y: y + 4, 'text-anchor': 'end' }, formatTick(Math.abs(bps))),
      );
    }
    for (const minutes of TICK_MINUTES.filter((tick) => this.#width >= NARROW || Number.isInteger(tick))) {
      const x = scale.x(MAX_BINS - (minutes * 60_000) / BIN_MS);
      const anchor = minutes === 0 ? 'end' : minutes === 2 ? 'start' : 'middle';
      const label = minutes === 0 ? 'now' : `−${minutes < 1 ? `${minutes * 60} s` : `${minutes} min`}`;
      parts.push(svg('text', { x, y: this.#height - 5, 'text-anchor': anchor }, label));
    }
    return parts;
  }

  #bars(scale: Scale): SVGElement[] {
    const first = MAX_BINS - this.#bins.length;
    const gap = scale.x(1) - scale.x(0) > 4 ? 1 : 0.3;
    const path = (from: (bin: Bin) => number, to: (bin: Bin) => number): string =>
      this.#bins
        .map((bin, i) => {
          const [y0, y1] = [scale.y(from(bin)), scale.y(to(bin))];
          if (Math.abs(y0 - y1) < 0.05) return '';
          const [x0, x1] = [scale.x(first + i), scale.x(first + i + 1) - gap];
          return `M${x0.toFixed(1)} ${y0.toFixed(1)}V${y1.toFixed(1)}H${x1.toFixed(1)}V${y0.toFixed(1)}Z`;
        })
        .join('');
    return [
      svg('path', { class: 'fill-peers', d: path(() => 0, (bin) => bin.peers) }),
      svg('path', { class: 'fill-origin', d: path((bin) => bin.peers, (bin) => bin.peers + bin.origin) }),
      svg('path', { class: 'fill-upload', d: path(() => 0, (bin) => -bin.upload) }),
    ];
  }

  #cursorMark(scale: Scale): SVGElement[] {
    if (this.#cursor === undefined) return [];
    const x = (scale.x(MAX_BINS - 1 - this.#cursor) + scale.x(MAX_BINS - this.#cursor)) / 2;
    return [svg('line', { class: 'cursor', x1: x, x2: x, y1: MARGIN.top, y2: this.#height - MARGIN.bottom })];
  }

  #readOut(): void {
    const back = this.#cursor ?? 0;
    const bin = this.#bins[this.#bins.length - 1 - back] ?? { origin: 0, peers: 0, upload: 0 };
    const when = back === 0 ? 'now' : `${(back * BIN_MS) / 1000}\u00a0s ago`;
    this.#when.textContent = when;
    for (const { key } of SERIES) {
      const value = this.#values.get(key);
      if (value) value.textContent = formatRate(bin[key]);
    }
    const spoken = SERIES.map(({ key, label }) => `${label.toLowerCase()} ${formatRate(bin[key])}`);
    this.#host.setAttribute('aria-valuenow', String(-back));
    this.#host.setAttribute('aria-valuetext', `${when}: ${spoken.join(', ')}`);
  }
}
