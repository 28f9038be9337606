/** What `Tabswarm.stats()` tells. */

import type { Sharing, SharingReason } from './sharing.js';

/** `p2p`: segments are shared; `off`: P2P is switched off, by the page or its policy, or waits for consent; `http`: it can't be had here. */
export type TabswarmMode = 'p2p' | 'http' | 'off';

/** An ICE candidate's type (RFC 8445), or null while it is not known. */
export type CandidateType = 'host' | 'srflx' | 'prflx' | 'relay' | null;

/** A connection to another viewer. */
export interface TabswarmPeer {
  /** 64 hexadecimal digits, different in every session. */
  readonly id: string;
  readonly state: 'connecting' | 'open' | 'closed';
  /** Whether segments are traded with it; otherwise the connection is for finding peers only. */
  readonly partner: boolean;
  /** Candidate of the pair in use at this end. */
  readonly localCandidate: CandidateType;
  /** Candidate of the pair in use at the other end. */
  readonly remoteCandidate: CandidateType;
  /** Round-trip time in milliseconds, once it was measured. */
  readonly rttMs: number | null;
  /** Segment bytes received. */
  readonly bytesIn: number;
  /** Segment bytes sent. */
  readonly bytesOut: number;
  /** Segment bytes received a second, over the last seconds. */
  readonly rateInBps: number;
  /** Segment bytes sent a second, over the last seconds. */
  readonly rateOutBps: number;
}

/** The mesh: how peers find each other without the service. */
export interface TabswarmMesh {
  /** Whether this viewer answers what others look up: it gives, and has been here for a minute. */
  readonly answers: boolean;
  /** Connections that lookups go over. */
  readonly contacts: number;
  /** Times that viewers of a stream were looked up. */
  readonly lookups: number;
  /** Those that found some. */
  readonly lookupsFound: number;
  /** Connections that this viewer began and that the service introduced. */
  readonly introducedByService: number;
  /** The same by the mesh. */
  readonly introducedByMesh: number;
  /** Requests that this viewer sent: copies of its own, … */
  readonly requestsMade: number;
  /** …and others' that it passed on. */
  readonly requestsPassed: number;
}

/** Counters since `create`, and what is so now. All zero in mode `http`, where segments don't pass through here. */
export interface TabswarmStats {
  readonly mode: TabswarmMode;
  /** What is shared now; `off` in mode `http`, too. */
  readonly sharing: Sharing;
  /** Why not everything is shared; empty where it is, and in mode `http`. */
  readonly sharingReasons: readonly SharingReason[];
  /** This viewer's id for the session, once the service accepted it. */
  readonly peerId: string | null;
  /** Viewers of the open streams, this one included, as the service said last; 0 while it is not known. */
  readonly viewers: number;
  readonly signaling: 'off' | 'connecting' | 'open' | 'closed';
  /** Segment bytes from the origin. */
  readonly originBytes: number;
  /** Segment bytes from peers. */
  readonly peerBytes: number;
  /** Segment bytes read from disk, with `persist`. */
  readonly diskBytes: number;
  /** Segment bytes given to peers. */
  readonly uploadBytes: number;
  /** Bytes received on control channels and from the service. */
  readonly controlBytesIn: number;
  /** Bytes sent on control channels and to the service. */
  readonly controlBytesOut: number;
  /** Groups of 16 KiB that were checked against a root and kept. */
  readonly verifiedGroups: number;
  /** Groups that failed the check and were thrown away. */
  readonly badGroups: number;
  /** Share of the segment bytes that came from peers, 0 to 1. */
  readonly offload: number;
  /** Memory of the wasm module in bytes; segments are not in it. */
  readonly wasmMemoryBytes: number;
  /** Segments that were delivered. */
  readonly segments: number;
  readonly mesh: TabswarmMesh;
  readonly peers: readonly TabswarmPeer[];
}

/** The module's numbers with their names; all zero without a module. @internal */
export function meshOf(numbers: Iterable<number> = []): TabswarmMesh {
  const [
    answers = 0, contacts = 0, lookups = 0, lookupsFound = 0, introducedByService = 0, introducedByMesh = 0, requestsMade = 0, requestsPassed = 0,
  ] = numbers;
  return {
    answers: answers > 0, contacts, lookups, lookupsFound, introducedByService, introducedByMesh, requestsMade, requestsPassed,
  };
}
