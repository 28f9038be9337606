// @ts-check
/** In every tab before the page's scripts: the connections it opens, what passes over them, and secrets in what it sends. */

(() => {
  /**
   * A longer message on a data channel carries segment bytes, whoever's protocol it is: announcements, requests and group
   * lists are shorter. The rest of a segment that is shorter counts as other.
   */
  const MAX_OTHER_BYTES = 2048;

  /** @type {RTCPeerConnection[]} */
  const connections = [];
  /** @type {WebSocket[]} */
  const sockets = [];
  /** @type {string[]} */
  const secrets = [];
  /** @type {{ channel: number, socket: number, bulkBytes: number }} */
  const sent = { channel: 0, socket: 0, bulkBytes: 0 };
  /** Bytes on data channels, by what they are, and on WebSockets. */
  const traffic = {
    sent: { payload: 0, other: 0, socket: 0 },
    received: { payload: 0, other: 0, socket: 0 },
  };
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

  /** @param {any} data */
  const lengthOf = (data) => data.byteLength ?? data.length ?? data.size;

  /** @param {'sent' | 'received'} way @param {unknown} data */
  function countMessage(way, data) {
    const bytes = lengthOf(data);
    traffic[way][bytes > MAX_OTHER_BYTES ? 'payload' : 'other'] += bytes;
  }

  /** @type {Set<RTCDataChannel>} */
  const controls = new Set();

  /** @param {RTCDataChannel} channel */
  function watchChannel(channel) {
    if (channel.label === 'control') {
      channel.addEventListener('open', () => controls.add(channel));
      channel.addEventListener('close', () => controls.delete(channel));
    }
    channel.addEventListener('message', ({ data }) => countMessage('received', data));
    return channel;
  }

  const Connection = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
      this.addEventListener('datachannel', ({ channel }) => watchChannel(channel));
    }

    /** @param {string} label @param {RTCDataChannelInit} [options] */
    createDataChannel(label, options) {
      return watchChannel(super.createDataChannel(label, options));
    }
  };
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    /** @param {string | URL} url @param {string | string[]} [protocols] */
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
      this.addEventListener('message', ({ data }) => (traffic.received.socket += lengthOf(data)));
      look('socket', String(url));
    }
  };

  const channelSend = RTCDataChannel.prototype.send;
  RTCDataChannel.prototype.send = function send(/** @type {any} */ data) {
    look('channel', data);
    countMessage('sent', data);
    if (this.label === 'bulk') sent.bulkBytes += lengthOf(data);
    channelSend.call(this, data);
  };
  const socketSend = Socket.prototype.send;
  Socket.prototype.send = function send(data) {
    look('socket', data);
    traffic.sent.socket += lengthOf(data);
    socketSend.call(this, data);
  };

  Object.assign(globalThis, {
    wireTap: {
      /** @param {string[]} list from now on, no message may hold one of these */
      forbid: (list) => secrets.push(...list),
      /** Closes one of the open connections, by chance; `false`: there is none. */
      drop: () => {
        const open = [...controls].filter(({ readyState }) => readyState === 'open');
        const one = open[Math.floor(Math.random() * open.length)];
        one?.close();
        return one !== undefined;
      },
      report: () => ({
        connections: connections.map((pc) => pc.connectionState),
        sockets: sockets.map((socket) => socket.readyState),
        sent,
        traffic,
        leaks,
      }),
    },
  });
})();
