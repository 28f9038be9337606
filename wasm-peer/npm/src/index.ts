/**
 * tabswarm: viewers of an HLS stream share its segments over WebRTC, each piece checked against a root that peers can't
 * forge; the CDN is asked for the rest. `tabswarm/hls` has the adapter for hls.js.
 */

export { TabswarmError, type TabswarmErrorCode } from './errors.js';
export type {
  ChunkDownloadedDetail,
  ChunkUploadedDetail,
  ErrorDetail,
  OriginMismatchDetail,
  PeerDetail,
  PeerReasonDetail,
  PopulationDetail,
  SegmentDelivery,
  SegmentLoadedDetail,
  StateDetail,
  TabswarmEventDetail,
  TabswarmEventMap,
} from './events.js';
export type { TabswarmRequestInit } from './http.js';
export type { TabswarmOptions } from './options.js';
export type { DeviceState, Sharing, SharingDetail, SharingPolicy, SharingReason } from './sharing.js';
export type { CandidateType, TabswarmMesh, TabswarmMode, TabswarmPeer, TabswarmStats } from './stats.js';
export { Tabswarm, type TabswarmListener } from './swarm.js';
