// @ts-check
/** hls.js alone. */

import Hls from 'hls.js';

export const createPlayer = async () => new Hls();
