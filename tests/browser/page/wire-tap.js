// @ts-check
/** In every tab before the page's scripts: the connections it opens, and secrets in what it sends over them. */

(() => {
  /** @type {RTCPeerConnection[]} */
  const connections = [];
  /** @type {WebSocket[]} */
  const sockets = [];
  /** @type {string[]} */
  const secrets = [];
  /** @type {{ channel: number, socket: number, bulkBytes: number }} */
  const sent = { channel: 0, socket: 0, bulkBytes: 0 };
  /** @type {string[]} */
  const leaks = [];
  const text = new TextDecoder('latin1');

  /** @param {unknown} data */
  function asText(data) {
    if (typeof data === 'string') return data;
    if (data instanceof ArrayBuffer) return text.decode(data);
    if (ArrayBuffer.isView(data)) return text.decode(new Uint8Array(data.buffer, data.byteOffset, data.byteLength));
    // A Blob could not be looked into at once: counts as a leak, so that nobody sends one unseen.
    return secrets.join();
  }

  /** @param {'channel' | 'socket'} where @param {unknown} data */
  function look(where, data) {
    sent[where] += 1;
    if (secrets.length === 0) return;
    const content = asText(data);
    for (const secret of secrets) if (content.includes(secret)) leaks.push(`${where}: ${secret}`);
  }

  const Connection = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
    }
  };
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    /** @param {string | URL} url @param {string | string[]} [protocols] */
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
      look('socket', String(url));
    }
  };

  const channelSend = RTCDataChannel.prototype.send;
  RTCDataChannel.prototype.send = function send(/** @type {any} */ data) {
    look('channel', data);
    if (this.label === 'bulk') sent.bulkBytes += data.byteLength ?? data.length;
    channelSend.call(this, data);
  };
  const socketSend = Socket.prototype.send;
  Socket.prototype.send = function send(data) {
    look('socket', data);
    socketSend.call(this, data);
  };

  Object.assign(globalThis, {
    wireTap: {
      /** @param {string[]} list from now on, no message may hold one of these */
      forbid: (list) => secrets.push(...list),
      report: () => ({
        connections: connections.map((pc) => pc.connectionState),
        sockets: sockets.map((socket) => socket.readyState),
        sent,
        leaks,
      }),
    },
  });
})();
