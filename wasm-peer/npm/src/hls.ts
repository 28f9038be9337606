/**
 * The adapter for hls.js, in three lines:
 *
 * ```js
 * import { Tabswarm } from 'tabswarm/hls';
 * const swarm = await Tabswarm.create({ signaling: 'wss://swarm.example/swarm' });
 * swarm.attach(hls);
 * ```
 */

import type Hls from 'hls.js';
import { Attachment } from './hls-attachment.js';
import { sessionOf, Tabswarm as BaseTabswarm } from './swarm.js';

/**
 * Lets a player fetch its fragments through a swarm; before or after `hls.loadSource`. LL-HLS parts, subtitles, keys and
 * playlists stay with the player's own loaders, and so does everything where there are no peers to be had.
 *
 * @returns a function that gives the player back as it was. `hls.destroy()` and `swarm.destroy()` do it, too.
 */
export function attach(swarm: BaseTabswarm, hls: Hls): () => void {
  const session = sessionOf(swarm);
  if (session.mode === 'http') return () => undefined;
  const attachment = new Attachment(session, hls);
  return () => attachment.detach();
}

/** As {@link BaseTabswarm}, with {@link Tabswarm.attach}. */
export class Tabswarm extends BaseTabswarm {
  /** Lets a player fetch its fragments through this swarm; see {@link attach}. */
  attach(hls: Hls): () => void {
    return attach(this, hls);
  }
}

export * from './index.js';
