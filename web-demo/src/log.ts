/** The event log: the newest on top, the oldest dropped. */

import { formatClock, formatCount } from './format.ts';

/** Lines kept. */
export const MAX_LINES = 200;
/** Characters kept of one line: some of the text comes from other peers. */
const MAX_TEXT = 300;

/** What a line is about; decides its mark and colour. */
export type LogKind = 'error' | 'info' | 'peer' | 'segment' | 'warning';

/** Keeps and shows the last {@link MAX_LINES} lines. */
export class EventLog {
  readonly #list: HTMLElement;
  readonly #summary: HTMLElement;
  #count = 0;

  constructor(list: HTMLElement, summary: HTMLElement) {
    this.#list = list;
    this.#summary = summary;
  }

  /** Adds a line, stamped with the time since the page was opened. */
  add(kind: LogKind, text: string): void {
    const line = document.createElement('li');
    line.className = `line-${kind}`;
    const time = document.createElement('time');
    time.textContent = formatClock(performance.now());
    const label = document.createElement('b');
    label.textContent = kind;
    const body = document.createElement('span');
    body.textContent = text.slice(0, MAX_TEXT);
    line.append(time, label, body);
    this.#list.prepend(line);
    if (this.#list.childElementCount > MAX_LINES) this.#list.lastElementChild?.remove();
    this.#count += 1;
    const more = this.#count > MAX_LINES ? `, the last ${MAX_LINES} shown` : '';
    this.#summary.textContent = `${formatCount(this.#count, 'event')}${more}`;
  }
}
