// @ts-check
/**
 * In a tab before the page's scripts: what the package's code has opened, started or listened to and not ended again. Which code
 * it was is seen from the stack.
 */

(() => {
  /** Where the package's files are, the wasm module's glue among them. */
  const PACKAGE = '/npm/';
  /** Whether the function that asks was called by the package itself, not by what that called. */
  const isOurs = () => (new Error().stack ?? '').split('\n')[3]?.includes(PACKAGE) ?? false;

  /** @type {Map<unknown, string>} */
  const timers = new Map();
  for (const [set, clear] of /** @type {const} */ ([['setTimeout', 'clearTimeout'], ['setInterval', 'clearInterval']])) {
    const [realSet, realClear] = [/** @type {any} */ (globalThis[set]), /** @type {any} */ (globalThis[clear])];
    Object.assign(globalThis, {
      /** @param {Function} callback @param {number} [delayMs] @param {any[]} args */
      [set]: (callback, delayMs, ...args) => {
        const run = (/** @type {any[]} */ ...given) => {
          if (set === 'setTimeout') timers.delete(id);
          callback(...given);
        };
        const id = realSet(run, delayMs, ...args);
        if (isOurs()) timers.set(id, `${set} ${delayMs}`);
        return id;
      },
      /** @param {unknown} id */
      [clear]: (id) => {
        timers.delete(id);
        realClear(id);
      },
    });
  }

  /** @type {{ target: WeakRef<EventTarget>, type: string, listener: unknown }[]} */
  const listeners = [];
  const { addEventListener, removeEventListener } = EventTarget.prototype;
  EventTarget.prototype.addEventListener = function add(type, listener, options) {
    // A signal of the package's own goes with what it was for; an instance hears of its listeners from the page.
    const counts = isOurs() && !(this instanceof AbortSignal) && this.constructor.name !== 'Tabswarm';
    if (counts) listeners.push({ target: new WeakRef(this), type, listener });
    addEventListener.call(this, type, listener, options);
  };
  EventTarget.prototype.removeEventListener = function remove(type, listener, options) {
    const at = listeners.findIndex((one) => one.target.deref() === this && one.type === type && one.listener === listener);
    if (at >= 0) listeners.splice(at, 1);
    removeEventListener.call(this, type, listener, options);
  };

  /** @type {RTCPeerConnection[]} */
  const connections = [];
  /** @type {RTCDataChannel[]} */
  const channels = [];
  const Connection = globalThis.RTCPeerConnection;
  globalThis.RTCPeerConnection = class extends Connection {
    /** @param {RTCConfiguration} [configuration] */
    constructor(configuration) {
      super(configuration);
      connections.push(this);
    }

    /** @param {string} label @param {RTCDataChannelInit} [options] */
    createDataChannel(label, options) {
      const channel = super.createDataChannel(label, options);
      channels.push(channel);
      return channel;
    }
  };
  /** @type {WebSocket[]} */
  const sockets = [];
  const Socket = globalThis.WebSocket;
  globalThis.WebSocket = class extends Socket {
    /** @param {string | URL} url @param {string | string[]} [protocols] */
    constructor(url, protocols) {
      super(url, protocols);
      sockets.push(this);
    }
  };

  /** @type {Set<{ url: string, signal: AbortSignal | undefined }>} */
  const requests = new Set();
  const realFetch = globalThis.fetch;
  globalThis.fetch = async (input, init) => {
    // The module stays, for all instances there will be.
    if (!isOurs() || /\.wasm$/.test(String(input))) return realFetch(input, init);
    const request = { url: String(input), signal: init?.signal ?? undefined };
    const over = () => requests.delete(request);
    requests.add(request);
    try {
      const response = await realFetch(input, init);
      watchBody(response, over);
      return response;
    } catch (error) {
      over();
      throw error;
    }
  };

  /**
   * Calls `over` when a response's body was read to its end, in either of the ways that the package has.
   * @param {Response} response @param {() => void} over
   */
  function watchBody(response, over) {
    const { body } = response;
    if (!body) return over();
    response.arrayBuffer = () => Response.prototype.arrayBuffer.call(response).finally(over);
    body.getReader = /** @type {any} */ (() => {
      const reader = /** @type {any} */ (ReadableStream.prototype.getReader).call(body);
      const read = reader.read.bind(reader);
      reader.read = async () => {
        const part = await read();
        if (part.done) over();
        return part;
      };
      return reader;
    });
  }

  const HANDLERS = [
    'onopen', 'onclose', 'onerror', 'onmessage', 'onbufferedamountlow', 'onicecandidate', 'onconnectionstatechange', 'ondatachannel',
  ];
  const handlersOf = (/** @type {any} */ target) =>
    HANDLERS.filter((name) => target[name]).map((name) => `${target.constructor.name}.${name}`);

  Object.assign(globalThis, {
    leftovers: {
      report: () => ({
        connections: connections.map((pc) => pc.connectionState).filter((state) => state !== 'closed'),
        sockets: sockets.filter(({ readyState }) => readyState < Socket.CLOSING).map(({ url }) => url),
        handlers: [...connections, ...channels, ...sockets].flatMap(handlersOf),
        requests: [...requests].filter(({ signal }) => !signal?.aborted).map(({ url }) => url),
        timers: [...timers.values()],
        listeners: listeners.filter(({ target }) => target.deref()).map(({ target, type }) => `${target.deref()?.constructor.name} ${type}`),
      }),
    },
  });
})();
