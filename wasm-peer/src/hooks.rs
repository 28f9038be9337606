//! What the page's side does for the driver, and the one way its events come back.
//!
//! Every callback that is given to the browser is [`Hooks::dispatch`] bound to a [`Kind`] and an id: no Rust closure ever
//! escapes into JS, so that none can outlive its connection or keep one from being collected. All of it comes in through
//! `Peer.dispatch`, where the page's side guards against a module that has panicked.

use js_sys::{Array, Function, Promise, Uint8Array};
use wasm_bindgen::prelude::*;
use web_sys::AbortController;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = r#"
/** How a {@link Peer} is set up. */
export interface PeerOptions {
  /** 32 random bytes, fresh for every page load. */
  readonly seed: Uint8Array;
  /** Address of the service: `ws:` or `wss:`. */
  readonly signaling: string;
  /** Access token for the service. */
  readonly token?: string;
  /** Most bytes of verified segments that are kept. */
  readonly cacheLimitBytes: number;
  /** Most bytes of verified segments that are kept on disk; 0: none. */
  readonly diskLimitBytes: number;
  /** Most bytes a second that are given to peers; 0: none. */
  readonly uploadLimit?: number;
  /** Whether peers may be connected before the first frame. */
  readonly economy: boolean;
  /** Whether the service may name peers of the same network first. */
  readonly near: boolean;
  /** Most connections to peers. */
  readonly maxConnections: number;
  /** Whether P2P is on from the start. */
  readonly p2p: boolean;
  /** The issuers' keys that the page trusts, 64 hexadecimal digits each, instead of those the service names. */
  readonly issuerKeys?: string[];
  /** Whether origin bytes that contradict a signed root twice are delivered. */
  readonly deliverSignedMismatch: boolean;
  /** Instead of the servers that the service names. */
  readonly iceServers?: RTCIceServer[];
}

/**
 * What the page's side does for a {@link Peer}. No method may throw, and none may call the peer: what follows from a call
 * waits until the peer's method has returned.
 */
export interface PeerHooks {
  /** Passes an event to {@link Peer.dispatch}. Called by the browser, bound to its first two arguments. */
  readonly dispatch: (kind: number, id: number, value: unknown) => void;
  /** Takes a connection's statistics. Called by the browser, bound to its first argument. */
  readonly pathReport: (link: number, report: RTCStatsReport) => void;
  /** Names the fetch that {@link Peer.fetch} was just called for, before anything follows from it. */
  started(fetch: number): void;
  /** Takes a connection that was made: after a panic nobody else can close it. */
  opened(connection: RTCPeerConnection | WebSocket): void;
  /** Requests a fetch's URL from the origin, with this `Range` if there is one, and past the HTTP cache if `fresh`. */
  request(fetch: number, range: string | undefined, fresh: boolean, abort: AbortController): Promise<Response>;
  /** Requests a sidecar of a stream, by its path relative to the master playlist. */
  requestSidecar(stream: number, path: string, range: string, abort: AbortController): Promise<Response>;
  /** Requests the manifest of a live stream again, for {@link Peer.addManifest}: exactly one call follows. */
  requestManifest(stream: number): void;
  /** An older manifest of a stream came in the place of a newer one and was refused. */
  manifestRolledBack(stream: number): void;
  /** The origin's answer to a fetch started: its status line and headers are here. */
  originHead(fetch: number): void;
  /** Bytes of the origin's body came. */
  originChunk(fetch: number, bytes: number): void;
  /** A request to the origin is over. */
  originEnd(fetch: number): void;
  /** Writes a segment to disk when there is time; one call of {@link Peer.persisted} follows. The bytes are the receiver's own. */
  persist(content: string, stream: string, bytes: Uint8Array): void;
  /** Reads a segment from disk, for {@link Peer.blobRead}. */
  load(blob: number, content: string, stream: string): void;
  /** Removes a segment from disk. */
  forget(content: string, stream: string): void;
  /** Keeps the list of what is blocked, in the place of the one before, for {@link Peer.keptBlocks}. */
  keepBlocks(list: Uint8Array): void;
  /** A segment is complete and verified: whether it stays in the store, since nobody has asked for it yet. */
  stays(fetch: number): boolean;
  /** A fetch is done. `bytes` are the receiver's own. */
  delivered(
    fetch: number,
    status: number,
    bytes: Uint8Array,
    verified: boolean,
    originBytes: number,
    peerBytes: number,
    diskBytes: number,
    tookMs: number,
    peers: string[],
  ): void;
  /** A fetch failed; `status` is 0 unless the origin answered. */
  failed(fetch: number, code: string, status: number): void;
  /** A peer's group was checked and kept. */
  peerChunk(fetch: number, bytes: number, peer: string): void;
  /** A group was given to a peer. */
  uploaded(bytes: number, peer: string): void;
  /** A peer is ready. */
  peerConnected(link: number, peer: string): void;
  /** A ready peer is gone. */
  peerClosed(link: number, peer: string, reason: string): void;
  /** A peer broke a rule. */
  peerBanned(peer: string, reason: string): void;
  /** Origin bytes contradict the root of a segment. */
  mismatch(fetch: number): void;
  /** The size of a swarm. */
  population(stream: number, viewers: number): void;
  /** The service accepted this peer. */
  serviceReady(peer: string): void;
  /** The connection to the service is gone. */
  serviceLost(): void;
}
"#;

#[wasm_bindgen]
extern "C" {
    /// What the page's side does for the driver.
    #[wasm_bindgen(typescript_type = "PeerHooks")]
    #[derive(Clone)]
    pub type Hooks;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn dispatch(this: &Hooks) -> Function;
    #[wasm_bindgen(method, getter, js_name = pathReport)]
    pub(crate) fn path_report(this: &Hooks) -> Function;
    #[wasm_bindgen(method)]
    pub(crate) fn started(this: &Hooks, fetch: f64);
    #[wasm_bindgen(method)]
    pub(crate) fn opened(this: &Hooks, connection: &JsValue);
    #[wasm_bindgen(method)]
    pub(crate) fn request(
        this: &Hooks,
        fetch: f64,
        range: Option<String>,
        fresh: bool,
        abort: &AbortController,
    ) -> Promise;
    #[wasm_bindgen(method, js_name = requestSidecar)]
    pub(crate) fn request_sidecar(
        this: &Hooks,
        stream: f64,
        path: &str,
        range: &str,
        abort: &AbortController,
    ) -> Promise;
    #[wasm_bindgen(method, js_name = requestManifest)]
    pub(crate) fn request_manifest(this: &Hooks, stream: f64);
    #[wasm_bindgen(method, js_name = manifestRolledBack)]
    pub(crate) fn manifest_rolled_back(this: &Hooks, stream: f64);
    #[wasm_bindgen(method, js_name = originHead)]
    pub(crate) fn origin_head(this: &Hooks, fetch: f64);
    #[wasm_bindgen(method, js_name = originChunk)]
    pub(crate) fn origin_chunk(this: &Hooks, fetch: f64, bytes: u32);
    #[wasm_bindgen(method, js_name = originEnd)]
    pub(crate) fn origin_end(this: &Hooks, fetch: f64);
    #[wasm_bindgen(method)]
    pub(crate) fn persist(this: &Hooks, content: &str, stream: &str, bytes: &Uint8Array);
    #[wasm_bindgen(method)]
    pub(crate) fn load(this: &Hooks, blob: f64, content: &str, stream: &str);
    #[wasm_bindgen(method)]
    pub(crate) fn forget(this: &Hooks, content: &str, stream: &str);
    #[wasm_bindgen(method, js_name = keepBlocks)]
    pub(crate) fn keep_blocks(this: &Hooks, list: &Uint8Array);
    #[wasm_bindgen(method)]
    pub(crate) fn stays(this: &Hooks, fetch: f64) -> bool;
    #[wasm_bindgen(method)]
    pub(crate) fn delivered(
        this: &Hooks,
        fetch: f64,
        status: u16,
        bytes: &Uint8Array,
        verified: bool,
        origin_bytes: f64,
        peer_bytes: f64,
        disk_bytes: f64,
        took_ms: f64,
        peers: &Array,
    );
    #[wasm_bindgen(method)]
    pub(crate) fn failed(this: &Hooks, fetch: f64, code: &str, status: u16);
    #[wasm_bindgen(method, js_name = peerChunk)]
    pub(crate) fn peer_chunk(this: &Hooks, fetch: f64, bytes: u32, peer: &JsValue);
    #[wasm_bindgen(method)]
    pub(crate) fn uploaded(this: &Hooks, bytes: u32, peer: &JsValue);
    #[wasm_bindgen(method, js_name = peerConnected)]
    pub(crate) fn peer_connected(this: &Hooks, link: f64, peer: &str);
    #[wasm_bindgen(method, js_name = peerClosed)]
    pub(crate) fn peer_closed(this: &Hooks, link: f64, peer: &str, reason: &str);
    #[wasm_bindgen(method, js_name = peerBanned)]
    pub(crate) fn peer_banned(this: &Hooks, peer: &str, reason: &str);
    #[wasm_bindgen(method)]
    pub(crate) fn mismatch(this: &Hooks, fetch: f64);
    #[wasm_bindgen(method)]
    pub(crate) fn population(this: &Hooks, stream: f64, viewers: u32);
    #[wasm_bindgen(method, js_name = serviceReady)]
    pub(crate) fn service_ready(this: &Hooks, peer: &str);
    #[wasm_bindgen(method, js_name = serviceLost)]
    pub(crate) fn service_lost(this: &Hooks);

    /// How a peer is set up.
    #[wasm_bindgen(typescript_type = "PeerOptions")]
    pub type Options;

    #[wasm_bindgen(method, getter)]
    pub(crate) fn seed(this: &Options) -> Uint8Array;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn signaling(this: &Options) -> String;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn token(this: &Options) -> Option<String>;
    #[wasm_bindgen(method, getter, js_name = cacheLimitBytes)]
    pub(crate) fn cache_limit_bytes(this: &Options) -> f64;
    #[wasm_bindgen(method, getter, js_name = diskLimitBytes)]
    pub(crate) fn disk_limit_bytes(this: &Options) -> f64;
    #[wasm_bindgen(method, getter, js_name = uploadLimit)]
    pub(crate) fn upload_limit(this: &Options) -> Option<f64>;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn economy(this: &Options) -> bool;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn near(this: &Options) -> bool;

    #[wasm_bindgen(method, getter, js_name = maxConnections)]
    pub(crate) fn max_connections(this: &Options) -> f64;
    #[wasm_bindgen(method, getter)]
    pub(crate) fn p2p(this: &Options) -> bool;
    #[wasm_bindgen(method, getter, js_name = issuerKeys)]
    pub(crate) fn issuer_keys(this: &Options) -> Option<Array>;
    #[wasm_bindgen(method, getter, js_name = deliverSignedMismatch)]
    pub(crate) fn deliver_signed_mismatch(this: &Options) -> bool;
    #[wasm_bindgen(method, getter, js_name = iceServers)]
    pub(crate) fn ice_servers(this: &Options) -> Option<Array>;

    /// `then` with plain functions; js-sys wants closures.
    type Thenable;
    #[wasm_bindgen(method, js_name = then)]
    fn then_call(this: &Thenable, fulfilled: &Function, rejected: &Function) -> JsValue;
}

macro_rules! kinds {
    ($($kind:ident,)*) => {
        /// What an event is about. The id that goes with it is a link's, a request's, or 0.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        #[repr(u32)]
        pub(crate) enum Kind {
            $($kind,)*
        }

        /// Every kind, by its number.
        const KINDS: &[Kind] = &[$(Kind::$kind,)*];
    };
}

kinds! {
    AnswerMade,
    BulkLow,
    BulkMessage,
    CandidateFound,
    ChannelClosed,
    ChannelOpen,
    Collected,
    ControlMessage,
    ForeignChannel,
    Ignored,
    Lingered,
    LinkFailed,
    LocalSet,
    OfferMade,
    OriginChunk,
    OriginFailed,
    OriginHead,
    RemoteOfferSet,
    ServiceClosed,
    ServiceMessage,
    ServiceOpen,
    SidecarBody,
    StateChanged,
    Timer,
}

impl Kind {
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        KINDS.get(number as usize).copied()
    }
}

/// Makes callbacks.
#[derive(Clone)]
pub(crate) struct Callbacks {
    dispatch: Function,
    hooks: Hooks,
}

impl Callbacks {
    pub(crate) fn new(hooks: &Hooks) -> Self {
        Self { dispatch: hooks.dispatch(), hooks: hooks.clone() }
    }

    /// Gives a new connection to the page's side.
    pub(crate) fn opened(&self, connection: &JsValue) {
        self.hooks.opened(connection);
    }

    /// A function that passes its argument on as an event of this kind and id.
    pub(crate) fn of(&self, kind: Kind, id: u64) -> Function {
        // Handles count up from 0 and stay far below 2^53.
        let bound =
            self.dispatch.bind2(&JsValue::NULL, &JsValue::from(kind as u32), &JsValue::from(id as f64));
        bound.unchecked_into()
    }

    /// Passes on what becomes of a promise.
    pub(crate) fn settle(&self, promise: &Promise, fulfilled: Kind, rejected: Kind, id: u64) {
        let thenable: &Thenable = promise.unchecked_ref();
        thenable.then_call(&self.of(fulfilled, id), &self.of(rejected, id));
    }

    /// Passes a promise's value to a function, and drops a rejection.
    pub(crate) fn settle_with(&self, promise: &Promise, fulfilled: &Function) {
        let thenable: &Thenable = promise.unchecked_ref();
        thenable.then_call(fulfilled, &self.of(Kind::Ignored, 0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_by_its_number() {
        for (number, kind) in KINDS.iter().enumerate() {
            assert_eq!(*kind as usize, number);
            assert_eq!(Kind::from_number(number as u32), Some(*kind));
        }
        assert_eq!(Kind::from_number(KINDS.len() as u32), None);
    }
}
