// @ts-check
/** In a tab before the page's scripts: when which segment bytes were given to data channels. */

(() => {
  /** A longer message carries segment bytes, as in wire-tap.js. */
  const MAX_OTHER_BYTES = 2048;
  /** @type {{ atMs: number, bytes: number }[]} */
  const sends = [];
  const send = RTCDataChannel.prototype.send;
  RTCDataChannel.prototype.send = function timedSend(/** @type {any} */ data) {
    if (data.byteLength > MAX_OTHER_BYTES) sends.push({ atMs: performance.now(), bytes: data.byteLength });
    send.call(this, data);
  };
  Object.assign(globalThis, { rateTap: sends });
})();
