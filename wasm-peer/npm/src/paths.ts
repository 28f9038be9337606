/** The candidate pair that a connection uses, out of its statistics (W3C webrtc-stats). */

import type { CandidateType } from './stats.js';

/** What is known of a connection's path. @internal */
export interface Path {
  readonly local: CandidateType;
  readonly remote: CandidateType;
  /** Milliseconds, or null before the first measurement. */
  readonly rttMs: number | null;
}

/** A path of which nothing is known. @internal */
export const UNKNOWN_PATH: Path = { local: null, remote: null, rttMs: null };

const TYPES: readonly CandidateType[] = ['host', 'srflx', 'prflx', 'relay'];

/** An entry, with the members that lib.dom leaves out. */
type Entry = RTCStats & {
  readonly selectedCandidatePairId?: string;
  readonly nominated?: boolean;
  readonly state?: string;
  readonly localCandidateId?: string;
  readonly remoteCandidateId?: string;
  readonly currentRoundTripTime?: number;
  readonly candidateType?: string;
};

function selectedPair(report: RTCStatsReport): Entry | undefined {
  let nominated: Entry | undefined;
  let selected: string | undefined;
  report.forEach((entry: Entry) => {
    if (entry.type === 'transport') selected = entry.selectedCandidatePairId ?? selected;
    // Firefox has no transport entry.
    if (entry.type === 'candidate-pair' && entry.nominated === true && entry.state === 'succeeded') nominated = entry;
  });
  return (selected === undefined ? undefined : (report.get(selected) as Entry | undefined)) ?? nominated;
}

function candidateType(report: RTCStatsReport, id: string | undefined): CandidateType {
  const entry = id === undefined ? undefined : (report.get(id) as Entry | undefined);
  return TYPES.find((type) => type === entry?.candidateType) ?? null;
}

/** Reads a connection's statistics. @internal */
export function readPath(report: RTCStatsReport): Path {
  const pair = selectedPair(report);
  if (!pair) return UNKNOWN_PATH;
  const seconds = pair.currentRoundTripTime;
  return {
    local: candidateType(report, pair.localCandidateId),
    remote: candidateType(report, pair.remoteCandidateId),
    rttMs: seconds === undefined ? null : seconds * 1000,
  };
}
