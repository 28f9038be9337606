// @ts-check
/**
 * In every tab before the page's scripts: what a tab of ill will, `?hostile=`, does to the messages that carry segment bytes,
 * whoever's protocol it is. Told apart by their length, as in wire-tap.js.
 */

(() => {
  const MAX_OTHER_BYTES = 2048;
  /**
   * Bytes at the front of a message that are left as they are: a header, and at a segment's front the container. A player
   * notices what is wrong with that and fetches again; of wrong pictures only a decoder hears.
   */
  const SPARED_BYTES = 4096;
  /** One byte of so many is altered. */
  const ALTERED_EVERY = 1024;
  const DRIP_BYTES_PER_MS = 1;

  const misdeed = new URL(location.href).searchParams.get('hostile');
  if (!misdeed) return;

  const send = RTCDataChannel.prototype.send;

  /** @param {any} data @returns {Uint8Array<ArrayBuffer>} a copy: the page may use its buffer again */
  const copyOf = (data) =>
    new Uint8Array(ArrayBuffer.isView(data) ? data.buffer.slice(data.byteOffset, data.byteOffset + data.byteLength) : data.slice(0));

  /** @type {WeakMap<RTCDataChannel, number>} when the next message may go */
  const freeMs = new WeakMap();

  /** @type {Record<string, (channel: RTCDataChannel, message: Uint8Array<ArrayBuffer>) => void>} */
  const ways = {
    corrupt: (channel, message) => {
      for (let at = SPARED_BYTES; at < message.length; at += ALTERED_EVERY) message[at] ^= 0xff;
      send.call(channel, message);
    },
    silent: () => undefined,
    drip: (channel, message) => {
      const now = performance.now();
      const free = Math.max(freeMs.get(channel) ?? 0, now) + message.length / DRIP_BYTES_PER_MS;
      freeMs.set(channel, free);
      setTimeout(() => channel.readyState === 'open' && send.call(channel, message), free - now);
    },
  };

  RTCDataChannel.prototype.send = function hostileSend(/** @type {any} */ data) {
    if ((data.byteLength ?? 0) > MAX_OTHER_BYTES) ways[misdeed](this, copyOf(data));
    else send.call(this, data);
  };
})();
