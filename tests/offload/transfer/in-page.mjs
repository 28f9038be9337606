// @ts-check
/**
 * What runs in the tabs of the bench of transfers. Each function is passed to a page as its text: it uses nothing of this module,
 * and what it leaves for the next one is on `globalThis.bench`.
 */

/**
 * Joins the stream.
 * @param {{ options: object, master: string }} task
 */
export async function openSwarm({ options, master }) {
  // @ts-ignore: resolved by the page's import map
  const { Tabswarm } = await import('tabswarm');
  const swarm = await Tabswarm.create(options);
  const deliveries = /** @type {string[]} */ ([]);
  swarm.addEventListener('segment-loaded', (/** @type {any} */ { detail }) => deliveries.push(detail.delivery));
  await swarm.open(master);
  Object.assign(globalThis, { bench: { swarm, deliveries } });
}

/** Peers that the tab is connected to. */
export function openPeers() {
  const { swarm } = /** @type {any} */ (globalThis).bench;
  return swarm.stats().peers.filter((/** @type {any} */ { state }) => state === 'open').length;
}

/**
 * Fetches segments through the swarm, so many at a time; how long it took in milliseconds.
 * @param {{ urls: string[], atOnce: number, deadlineMs: number }} task
 */
export async function fetchAll({ urls, atOnce, deadlineMs }) {
  const { bench } = /** @type {any} */ (globalThis);
  /** @type {ArrayBuffer[]} */
  const bodies = new Array(urls.length);
  let next = 0;
  const began = performance.now();
  const worker = async () => {
    while (next < urls.length) {
      const at = next++;
      const response = await bench.swarm.fetch(urls[at], { deadlineMs });
      if (!response.ok) throw new Error(`${response.status} for ${urls[at]}`);
      bodies[at] = await response.arrayBuffer();
    }
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
  bench.bodies = bodies;
  return performance.now() - began;
}

/** What came: the hash of each segment, how it was delivered, and the counters. */
export async function showFetched() {
  const { swarm, deliveries, bodies } = /** @type {any} */ (globalThis).bench;
  const hashes = [];
  for (const body of bodies) {
    const digest = await crypto.subtle.digest('SHA-256', body);
    hashes.push([...new Uint8Array(digest)].map((byte) => byte.toString(16).padStart(2, '0')).join(''));
  }
  return { hashes, deliveries, stats: swarm.stats() };
}

/**
 * Makes a connection with one channel like the swarm's, and says what to tell the other tab.
 * @param {RTCSessionDescriptionInit} [offer] the other tab's, if it was first
 */
export async function connectBare(offer) {
  const connection = new RTCPeerConnection();
  const channel = connection.createDataChannel('bare', { negotiated: true, id: 1 });
  channel.binaryType = 'arraybuffer';
  const open = new Promise((resolve) => channel.addEventListener('open', resolve, { once: true }));
  Object.assign(globalThis, { bare: { connection, channel, open } });
  if (offer) await connection.setRemoteDescription(offer);
  const gathered = new Promise((resolve) => {
    connection.addEventListener('icegatheringstatechange', () => connection.iceGatheringState === 'complete' && resolve(undefined));
  });
  await connection.setLocalDescription();
  await gathered;
  return /** @type {RTCSessionDescription} */ (connection.localDescription).toJSON();
}

/** @param {RTCSessionDescriptionInit} answer */
export async function completeBare(answer) {
  await /** @type {any} */ (globalThis).bare.connection.setRemoteDescription(answer);
}

/**
 * Sends that many bytes when the other tab says so, in messages of one size, never more of them buffered than the swarm would.
 * @param {{ bytes: number, frame: number, low: number, least: number, seconds: number }} task
 */
export async function giveBare({ bytes, frame, low, least, seconds }) {
  const { channel, open } = /** @type {any} */ (globalThis).bare;
  await open;
  const message = crypto.getRandomValues(new Uint8Array(frame));
  let sent = 0;
  let began = 0;
  const pump = () => {
    const most = () => Math.max(least, (sent / (performance.now() - began + 1)) * seconds * 1000);
    while (sent < bytes && channel.bufferedAmount <= most()) {
      const part = message.subarray(0, Math.min(frame, bytes - sent));
      channel.send(part);
      sent += part.length;
    }
  };
  channel.bufferedAmountLowThreshold = low;
  channel.onbufferedamountlow = pump;
  channel.onmessage = () => {
    sent = 0;
    began = performance.now();
    pump();
  };
}

/**
 * Tells the other tab to send, and how long it took in milliseconds until all was there.
 * @param {{ bytes: number }} task
 */
export async function takeBare({ bytes }) {
  const { channel, open } = /** @type {any} */ (globalThis).bare;
  await open;
  const began = performance.now();
  let received = 0;
  await new Promise((resolve) => {
    channel.onmessage = (/** @type {MessageEvent<ArrayBuffer>} */ { data }) => {
      received += data.byteLength;
      if (received >= bytes) resolve(undefined);
    };
    channel.send('go');
  });
  return performance.now() - began;
}

/** Closes the connection. */
export function closeBare() {
  /** @type {any} */ (globalThis).bare.connection.close();
}
