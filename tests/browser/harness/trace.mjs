// @ts-check
/** A tab's main thread in a trace of Chromium: its tasks, and how much CPU time each took. */

/** @typedef {import('playwright-core').Page} Page */

/**
 * @typedef {object} Task
 * @property {number} cpuMs of the thread
 * @property {string[]} parts the longest things it did, with their milliseconds
 */

/** @typedef {{ ph: string, name: string, cat: string, pid: number, tid: number, ts: number, dur?: number, tdur?: number, args: any }} TraceEvent */

const CATEGORIES = ['__metadata', 'devtools.timeline', 'toplevel', 'v8', 'v8.wasm', 'blink.user_timing'];
/** How many of a task's longest parts are named. */
const NAMED = 5;

/** Traces one tab from `start` to `stop`. */
export class MainThread {
  /** @param {import('playwright-core').CDPSession} session @param {Page} page */
  constructor(session, page) {
    this.session = session;
    this.page = page;
  }

  /** @param {Page} page */
  static async start(page) {
    const session = await page.context().newCDPSession(page);
    await session.send('Tracing.start', {
      transferMode: 'ReturnAsStream',
      traceConfig: { includedCategories: CATEGORIES, recordMode: 'recordAsMuchAsPossible' },
    });
    return new MainThread(session, page);
  }

  /** Ends the trace: the tasks of the tab's main thread. @returns {Promise<Task[]>} */
  async stop() {
    // Marks the tab's process and thread among the others.
    const mark = `mark ${Math.random()}`;
    await this.page.evaluate((name) => void performance.mark(name), mark);
    const complete = new Promise((resolve) => this.session.once('Tracing.tracingComplete', resolve));
    await this.session.send('Tracing.end');
    const { stream } = /** @type {{ stream: string }} */ (await complete);
    let text = '';
    for (let eof = false; !eof; ) {
      const part = await this.session.send('IO.read', { handle: stream, size: 1 << 20 });
      text += part.base64Encoded ? Buffer.from(part.data, 'base64').toString() : part.data;
      eof = part.eof;
    }
    await this.session.detach();
    return tasksOf(JSON.parse(text).traceEvents, mark);
  }
}

/** @param {readonly TraceEvent[]} events @param {string} mark */
function tasksOf(events, mark) {
  const marked = events.find(({ name }) => name === mark);
  if (!marked) throw new Error('the trace has no mark of the tab');
  const own = events.filter(({ ph, pid, tid }) => ph === 'X' && pid === marked.pid && tid === marked.tid);
  own.sort((a, b) => a.ts - b.ts || (b.dur ?? 0) - (a.dur ?? 0));
  /** @type {{ end: number, tdur: number, inner: TraceEvent[] }[]} */
  const tasks = [];
  for (const event of own) {
    const last = tasks.at(-1);
    if (last && event.ts < last.end) last.inner.push(event);
    else tasks.push({ end: event.ts + (event.dur ?? 0), tdur: event.tdur ?? 0, inner: [] });
  }
  return tasks.map(({ tdur, inner }) => {
    const longest = [...inner].sort((a, b) => (b.tdur ?? 0) - (a.tdur ?? 0)).slice(0, NAMED);
    return { cpuMs: tdur / 1000, parts: longest.map(({ name, tdur: cpu }) => `${name} ${((cpu ?? 0) / 1000).toFixed(1)}`) };
  });
}
