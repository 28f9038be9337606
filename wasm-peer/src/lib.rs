//! The browser driver around the tabswarm core.
//!
//! It carries out what the core's node asks for with RTCPeerConnection, WebSocket, the page's fetch and timers, and tells
//! it what happened. There are no rules in it: what is asked, kept, served or banned is decided in the core, so that it can be
//! simulated. Segment bytes stay in JS memory (`blobs`) and pass through one scratch buffer to be hashed (`scratch`);
//! URLs, credentials and tokens never enter the module: the page's side makes the requests (`hooks`).

mod blobs;
mod clock;
mod content_range;
mod counters;
mod drain;
mod driver;
mod hooks;
mod incoming;
mod link;
mod links;
mod origin;
mod panic;
mod peer;
mod scratch;
mod service;
mod timers;

pub use counters::{LinkReport, PeerReport};
pub use peer::{Peer, StreamRoots};

// The module is 2.4 KB smaller after gzip than with the standard library's allocator.
#[cfg(target_family = "wasm")]
#[global_allocator]
static ALLOCATOR: talc::wasm::WasmDynamicTalc = talc::wasm::new_wasm_dynamic_allocator();
