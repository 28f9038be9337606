/** The peers table. Rows are kept and updated in place, so that a selection survives the next second. */

import { formatBytes, formatMs, formatRate, shortId, UNKNOWN } from './format.ts';

/** One row. Bytes since the connection began, rates in bytes per second. */
export interface PeerRow {
  readonly id: string;
  readonly state: string;
  readonly localCandidate: string | null;
  readonly remoteCandidate: string | null;
  readonly rttMs: number | null;
  readonly bytesIn: number;
  readonly bytesOut: number;
  readonly rateIn: number;
  readonly rateOut: number;
}

/** Rows shown at most. */
const MAX_ROWS = 100;

/** A cell's two lines: the figure, and what belongs to it. */
type CellText = readonly [main: string, detail: string];

function cells(peer: PeerRow): readonly CellText[] {
  return [
    [shortId(peer.id), peer.state],
    [peer.localCandidate ?? UNKNOWN, `→${'\u00a0'}${peer.remoteCandidate ?? UNKNOWN}`],
    [peer.rttMs === null ? UNKNOWN : formatMs(peer.rttMs), ''],
    [formatBytes(peer.bytesIn), formatRate(peer.rateIn)],
    [formatBytes(peer.bytesOut), formatRate(peer.rateOut)],
  ];
}

/** From this column on, cells are figures and stand to the right. */
const FIRST_FIGURE = 2;

function setText(element: Element | null | undefined, text: string): void {
  if (element && element.textContent !== text) element.textContent = text;
}

/** The table's body. */
export class PeerTable {
  readonly #body: HTMLElement;
  readonly #empty: HTMLElement;
  readonly #rows = new Map<string, HTMLTableRowElement>();

  constructor(body: HTMLElement, empty: HTMLElement) {
    this.#body = body;
    this.#empty = empty;
  }

  /** Shows these peers, in this order. */
  update(peers: readonly PeerRow[]): void {
    const shown = peers.slice(0, MAX_ROWS);
    const ids = new Set(shown.map((peer) => peer.id));
    for (const [id, row] of this.#rows) {
      if (ids.has(id)) continue;
      row.remove();
      this.#rows.delete(id);
    }
    for (const peer of shown) this.#show(peer);
    this.#empty.hidden = shown.length > 0;
  }

  #show(peer: PeerRow): void {
    let row = this.#rows.get(peer.id);
    if (!row) {
      row = this.#newRow(peer);
      this.#rows.set(peer.id, row);
      this.#body.append(row);
    }
    row.dataset['state'] = peer.state;
    cells(peer).forEach(([main, detail], i) => {
      const cell = row.cells[i];
      setText(cell?.children[0], main);
      setText(cell?.children[1], detail);
    });
  }

  #newRow(peer: PeerRow): HTMLTableRowElement {
    const row = document.createElement('tr');
    cells(peer).forEach((_, i) => {
      const cell = document.createElement(i === 0 ? 'th' : 'td');
      if (i === 0) {
        cell.setAttribute('scope', 'row');
        cell.title = peer.id;
      }
      if (i >= FIRST_FIGURE) cell.className = 'num';
      cell.append(document.createElement('span'), document.createElement('small'));
      row.append(cell);
    });
    return row;
  }
}
