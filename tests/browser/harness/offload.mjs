// @ts-check
/** What a swarm saved its origin, and the most it can save. */

/**
 * The share of the played bytes that did not leave the origin. Below zero if more left than was played.
 * @param {number} originBytes
 * @param {number} playedBytes
 */
export function offloadOf(originBytes, playedBytes) {
  return playedBytes > 0 ? 1 - originBytes / playedBytes : 0;
}

/**
 * The offload of viewers who start at once, alone, and then share everything: each distinct segment leaves the origin once,
 * and each viewer's first segment.
 * @param {number} distinctBytes
 * @param {readonly number[]} firstBytes of each viewer's first segment
 * @param {number} playedBytes
 */
export function ceilingOf(distinctBytes, firstBytes, playedBytes) {
  return offloadOf(firstBytes.reduce((sum, bytes) => sum + bytes, distinctBytes), playedBytes);
}
