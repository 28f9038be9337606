/** The events of a `Tabswarm`, named as in the field; each is a `CustomEvent` whose `detail` is described here. */

import type { TabswarmError } from './errors.js';
import type { SharingDetail } from './sharing.js';
import type { TabswarmMode } from './stats.js';

/** What is known of a segment's bytes: every group was checked against a root, or they are the origin's as they came. */
export type SegmentDelivery = 'verified' | 'origin-whole';

/** A segment was given to the player. */
export interface SegmentLoadedDetail {
  readonly url: string;
  /** Length in bytes. */
  readonly bytes: number;
  /** Bytes that were fetched from the origin for it. */
  readonly fromOrigin: number;
  /** Bytes that came from peers. */
  readonly fromPeers: number;
  /** Bytes that were read from disk; all three are 0 for a segment that was in memory. */
  readonly fromDisk: number;
  readonly delivery: SegmentDelivery;
  /** From the request to the delivery, milliseconds. */
  readonly durationMs: number;
  /** The peers that gave some of it. */
  readonly peers: readonly string[];
}

/** Bytes of a segment came. */
export interface ChunkDownloadedDetail {
  readonly url: string;
  /** Bytes. */
  readonly bytes: number;
  readonly source: 'origin' | 'peer';
  /** The peer that sent them, if it was one. */
  readonly peer?: string;
}

/** Bytes of a segment were given to a peer. */
export interface ChunkUploadedDetail {
  /** Bytes. */
  readonly bytes: number;
  readonly peer: string;
}

/** A peer, by its id for this session: 64 hexadecimal digits. */
export interface PeerDetail {
  readonly peer: string;
}

/** Why a peer is gone. */
export interface PeerReasonDetail extends PeerDetail {
  /**
   * `closed-here`, `closed` or `misbehaviour` in `peer-close`; `bad-group`, `bad-hello`, `malformed`, `never-gives`, `too-many-messages`,
   * `transport` or `unsolicited` in `peer-banned`.
   */
  readonly reason: string;
}

/** The size of the swarm, this viewer included. */
export interface PopulationDetail {
  readonly viewers: number;
}

/** The segment whose bytes at the origin contradict its root. */
export interface OriginMismatchDetail {
  readonly url: string;
}

/** Something went wrong; playback goes on over plain HTTP wherever it can. */
export interface ErrorDetail {
  readonly error: TabswarmError;
}

/** How segments are fetched from now on. */
export interface StateDetail {
  readonly mode: TabswarmMode;
}

/** Every event by its name. */
export interface TabswarmEventMap {
  'chunk-downloaded': CustomEvent<ChunkDownloadedDetail>;
  'chunk-uploaded': CustomEvent<ChunkUploadedDetail>;
  error: CustomEvent<ErrorDetail>;
  'origin-mismatch': CustomEvent<OriginMismatchDetail>;
  'peer-banned': CustomEvent<PeerReasonDetail>;
  'peer-close': CustomEvent<PeerReasonDetail>;
  'peer-connect': CustomEvent<PeerDetail>;
  population: CustomEvent<PopulationDetail>;
  'segment-loaded': CustomEvent<SegmentLoadedDetail>;
  sharing: CustomEvent<SharingDetail>;
  'signaling-close': CustomEvent<Record<string, never>>;
  'signaling-open': CustomEvent<Record<string, never>>;
  state: CustomEvent<StateDetail>;
}

/** The detail of an event. */
export type TabswarmEventDetail<K extends keyof TabswarmEventMap> = TabswarmEventMap[K]['detail'];
