// @ts-check
/**
 * In a hostile tab before the page's scripts: alters or swallows the groups it sends (docs/protocol.md §4, data frame: type u16 LE
 * = 32, length u32 LE, varints request and group, bytes), with headers that stay well formed.
 */

(() => {
  const DATA = 32;
  const FRAME_HEADER_LEN = 6;

  /** @typedef {{ header: Uint8Array, bytes: Uint8Array }} Data */

  /**
   * `other`: bytes of another segment, to replay.
   * @type {{ mode: string | null, other: Uint8Array, altered: number }}
   */
  const state = { mode: null, other: new Uint8Array(), altered: 0 };
  /** @type {WeakMap<RTCDataChannel, Data>} groups that wait for one to be swapped with */
  const held = new WeakMap();

  /** Where a varint ends. @param {Uint8Array} bytes @param {number} at */
  function skipVarint(bytes, at) {
    while (bytes[at] >= 128) at += 1;
    return at + 1;
  }

  /** @param {Uint8Array} message @returns {Data | undefined} */
  function parseData(message) {
    if ((message[0] | (message[1] << 8)) !== DATA) return undefined;
    const end = skipVarint(message, skipVarint(message, FRAME_HEADER_LEN));
    return { header: message.slice(0, end), bytes: message.slice(end) };
  }

  /** @param {Uint8Array} header @param {Uint8Array} bytes */
  function join(header, bytes) {
    const message = new Uint8Array(header.length + bytes.length);
    message.set(header);
    message.set(bytes, header.length);
    new DataView(message.buffer).setUint32(2, message.length - FRAME_HEADER_LEN, true);
    return message;
  }

  /**
   * What is sent in place of one group.
   * @type {Record<string, (data: Data, channel: RTCDataChannel) => Uint8Array[]>}
   */
  const ways = {
    flip: ({ header, bytes }) => {
      bytes[bytes.length >> 1] ^= 1;
      return [join(header, bytes)];
    },
    truncate: ({ header, bytes }) => [join(header, bytes.subarray(0, bytes.length - 1))],
    extend: ({ header, bytes }) => [join(header, new Uint8Array([...bytes, 0]))],
    swap: (data, channel) => {
      const first = held.get(channel);
      if (!first) {
        held.set(channel, data);
        return [];
      }
      held.delete(channel);
      return [join(first.header, data.bytes), join(data.header, first.bytes)];
    },
    replay: ({ header, bytes }) => [join(header, state.other.subarray(0, bytes.length))],
    silence: () => {
      state.altered += 1;
      return [];
    },
  };

  const send = RTCDataChannel.prototype.send;
  RTCDataChannel.prototype.send = function pollutedSend(/** @type {any} */ message) {
    // A copy: the page may use its buffer again.
    const bytes = ArrayBuffer.isView(message)
      ? new Uint8Array(message.buffer, message.byteOffset, message.byteLength).slice()
      : new Uint8Array(message).slice();
    const data = state.mode && this.label === 'bulk' ? parseData(bytes) : undefined;
    if (!state.mode || !data) return void send.call(this, message);
    for (const altered of ways[state.mode](data, this)) {
      state.altered += 1;
      send.call(this, /** @type {any} */ (altered));
    }
  };

  Object.assign(globalThis, { polluter: state });
})();
