import { expect, test } from 'vitest';
import { readPath } from '../src/paths.js';

function report(...entries: object[]): RTCStatsReport {
  return new Map(entries.map((entry) => [(entry as { id: string }).id, entry])) as unknown as RTCStatsReport;
}
const pair = { id: 'P', type: 'candidate-pair', localCandidateId: 'L', remoteCandidateId: 'R', currentRoundTripTime: 0.025 };
const local = { id: 'L', type: 'local-candidate', candidateType: 'host' };
const remote = { id: 'R', type: 'remote-candidate', candidateType: 'srflx' };

test('the pair that the transport selected is the path', () => {
  const transport = { id: 'T', type: 'transport', selectedCandidatePairId: 'P' };
  const other = { ...pair, id: 'Q', nominated: true, state: 'succeeded', localCandidateId: 'R' };
  expect(readPath(report(other, pair, local, remote, transport))).toEqual({ local: 'host', remote: 'srflx', rttMs: 25 });
});

test('without a transport entry it is the nominated one', () => {
  const nominated = { ...pair, nominated: true, state: 'succeeded' };
  expect(readPath(report(nominated, local, remote))).toEqual({ local: 'host', remote: 'srflx', rttMs: 25 });
});

test('before there is a pair nothing is known', () => {
  expect(readPath(report(local, remote))).toEqual({ local: null, remote: null, rttMs: null });
});
