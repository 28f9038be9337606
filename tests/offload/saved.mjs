// @ts-check
/** Runs on disk, so that a long plan goes on where it was stopped. */

import { mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';

/**
 * @typedef {object} SavedRun
 * @property {string} date ISO 8601
 * @property {Record<string, unknown>} made what it depends on; a run with other ones is another run
 * @property {string} machine
 * @property {string} chromium
 * @property {import('./measure/figures.mjs').Figures} figures as they came out, to be read
 * @property {import('./measure/figures.mjs').Counts} counts what they were made of, and are made of anew for a table
 * @property {string[]} problems what the pages complained of
 */

/** The runs of one directory. */
export class SavedRuns {
  /** @param {string} dir */
  constructor(dir) {
    this.dir = dir;
  }

  /**
   * The run of that number, if it was made of the same things.
   * @param {import('./plan.mjs').Entry} entry
   * @param {number} number from 1
   * @param {SavedRun['made']} made
   * @returns {SavedRun | undefined}
   */
  find(entry, number, made) {
    try {
      const run = JSON.parse(readFileSync(this.#file(entry, number), 'utf8'));
      return JSON.stringify(run.made) === JSON.stringify(made) ? run : undefined;
    } catch {
      // None, or one that was being written when it was stopped.
      return undefined;
    }
  }

  /**
   * @param {import('./plan.mjs').Entry} entry
   * @param {number} number
   * @param {SavedRun} run
   */
  save(entry, number, run) {
    const file = this.#file(entry, number);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(`${file}.unfinished`, `${JSON.stringify(run, null, 1)}\n`);
    renameSync(`${file}.unfinished`, file);
  }

  /** @param {import('./plan.mjs').Entry} entry @param {number} number */
  #file({ scenario, plugin }, number) {
    return join(this.dir, scenario, `${plugin}-${number}.json`);
  }
}
