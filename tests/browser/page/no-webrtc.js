// @ts-check
/** In a tab before the page's scripts: a browser without WebRTC. */

for (const name of ['RTCDataChannel', 'RTCPeerConnection', 'RTCSessionDescription', 'RTCIceCandidate']) {
  Reflect.deleteProperty(globalThis, name);
}
