// @ts-check
/** In every tab before the page's scripts: remembers each payload that hls.js is handed, by its hash. */

(() => {
  /** @typedef {{ url: string, rangeStart?: number, rangeEnd?: number, frag?: { sn: number | 'initSegment' } }} Context */

  /** @type {(Omit<Context, 'frag'> & { init: boolean, bytes: number, sha256: string })[]} */
  const payloads = [];
  let hashing = 0;

  /** @param {Context} context @param {ArrayBuffer} data */
  async function record(context, data) {
    const { url, rangeStart, rangeEnd, frag } = context;
    const range = rangeEnd ? { rangeStart, rangeEnd } : {};
    const payload = { url, ...range, init: frag?.sn === 'initSegment', bytes: data.byteLength, sha256: '' };
    payloads.push(payload);
    hashing += 1;
    // hls.js hands the buffer to its worker: `digest` has copied it when it returns (Web Cryptography API §14.3.5).
    const digest = await crypto.subtle.digest('SHA-256', data);
    payload.sha256 = [...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join('');
    hashing -= 1;
  }

  /**
   * Wraps the fragment loader of `hls` as it is now: call it after `attach`. Init segments pass there too.
   * @param {any} hls
   */
  function watch(hls) {
    const Inner = hls.config.fLoader ?? hls.config.loader;
    hls.config.fLoader = class extends Inner {
      /** @param {any} context @param {any} config @param {any} callbacks */
      load(context, config, callbacks) {
        super.load(context, config, {
          ...callbacks,
          /** @param {any} response @param {any[]} rest */
          onSuccess: (response, ...rest) => {
            void record(context, response.data);
            callbacks.onSuccess(response, ...rest);
          },
        });
      }
    };
  }

  /** Every payload so far, once its hash is known. */
  async function all() {
    while (hashing > 0) await new Promise((resolve) => setTimeout(resolve, 5));
    return payloads;
  }

  Object.assign(globalThis, { payloadRecorder: { all, watch } });
})();
