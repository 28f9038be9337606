// @ts-check
/** p2p-media-loader beside hls.js, put in as its documentation shows. */

import Hls from 'hls.js';
import { HlsJsP2PEngine } from 'p2p-media-loader-hlsjs';

const HlsWithP2P = HlsJsP2PEngine.injectMixin(Hls);

/** @param {Record<string, unknown>} options of its core @returns {Promise<Hls>} */
export async function createPlayer(options) {
  return /** @type {any} */ (new HlsWithP2P({ p2p: { core: options } }));
}
