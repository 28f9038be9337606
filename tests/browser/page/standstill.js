// @ts-check
/** In a tab before the page's scripts: how long the picture stands once it has moved, after seeks too. */

(() => {
  /** Playback that went on for this long goes on. Seconds. */
  const MOVED_SECONDS = 0.05;
  /** @typedef {{ why: string, atMs: number, position: number }} Stand */
  /** @type {(Stand & { ms: number })[]} */
  const over = [];
  /** @type {Stand | undefined} */
  let stand;
  let hasPlayed = false;
  /** @type {(() => void)[]} */
  let awaited = [];

  /** @param {Event} event */
  function stands({ type, target }) {
    const video = /** @type {HTMLVideoElement} */ (target);
    if (!hasPlayed || video.ended || (stand && type === 'waiting')) return;
    // A seek on top of a standstill goes on with it, from the new place.
    stand = { why: stand?.why ?? type, atMs: stand?.atMs ?? performance.now(), position: video.currentTime };
  }

  /** @param {Event} event */
  function moves({ target }) {
    const video = /** @type {HTMLVideoElement} */ (target);
    if (video.seeking || video.paused) return;
    hasPlayed ||= video.currentTime > 0;
    if (!stand || video.currentTime - stand.position < MOVED_SECONDS) return;
    over.push({ ...stand, ms: performance.now() - stand.atMs });
    stand = undefined;
    for (const tell of awaited.splice(0)) tell();
  }

  // Media events don't bubble.
  for (const event of ['seeking', 'waiting']) document.addEventListener(event, stands, true);
  for (const event of ['playing', 'timeupdate']) document.addEventListener(event, moves, true);

  Object.assign(globalThis, {
    standstill: {
      report: () => (stand ? [...over, { ...stand, ms: performance.now() - stand.atMs }] : over),
      /** Seeks, and returns when the picture moves again. @param {number} position */
      async seek(position) {
        const video = /** @type {HTMLVideoElement} */ (document.querySelector('video'));
        const moved = new Promise((resolve) => awaited.push(() => resolve(undefined)));
        video.currentTime = position;
        await moved;
      },
    },
  });
})();
