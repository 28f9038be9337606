//! What a page may want to show, as numbers.

use tabswarm_core::node::LinkInfo;
use wasm_bindgen::prelude::*;

use crate::{driver::Driver, link::Stage};

/// Counters of a peer, all since it was made. Bytes, where nothing else is said.
#[wasm_bindgen]
#[derive(Clone, Copy, Debug)]
pub struct PeerReport {
    /// Groups that failed verification, from peers or the origin.
    #[wasm_bindgen(readonly, js_name = badGroups)]
    pub bad_groups: f64,
    /// Received on control channels and from the service.
    #[wasm_bindgen(readonly, js_name = controlBytesIn)]
    pub control_bytes_in: f64,
    /// Sent on control channels and to the service.
    #[wasm_bindgen(readonly, js_name = controlBytesOut)]
    pub control_bytes_out: f64,
    /// Segment bytes read from disk that were as they should be.
    #[wasm_bindgen(readonly, js_name = diskBytes)]
    pub disk_bytes: f64,
    /// Segment bytes from the origin.
    #[wasm_bindgen(readonly, js_name = originBytes)]
    pub origin_bytes: f64,
    /// Segment bytes from peers that were kept.
    #[wasm_bindgen(readonly, js_name = peerBytes)]
    pub peer_bytes: f64,
    /// Segments that were delivered.
    #[wasm_bindgen(readonly)]
    pub segments: f64,
    /// Whether the WebSocket to the service is open or opening.
    #[wasm_bindgen(readonly, js_name = serviceConnected)]
    pub service_connected: bool,
    /// Segment bytes given to peers.
    #[wasm_bindgen(readonly, js_name = uploadBytes)]
    pub upload_bytes: f64,
    /// Groups that were checked and kept.
    #[wasm_bindgen(readonly, js_name = verifiedGroups)]
    pub verified_groups: f64,
}

/// A connection to a peer.
#[wasm_bindgen]
#[derive(Clone, Debug)]
pub struct LinkReport {
    peer: String,
    /// Names the connection among this peer's.
    #[wasm_bindgen(readonly)]
    pub link: f64,
    /// Whether both channels are open.
    #[wasm_bindgen(readonly)]
    pub open: bool,
    /// Whether segments are traded over it.
    #[wasm_bindgen(readonly)]
    pub partner: bool,
    /// Smoothed round-trip time of the control channel in milliseconds, if it was measured.
    #[wasm_bindgen(readonly, js_name = rttMs)]
    pub rtt_ms: Option<f64>,
    /// Segment bytes received.
    #[wasm_bindgen(readonly, js_name = bytesIn)]
    pub bytes_in: f64,
    /// Segment bytes sent.
    #[wasm_bindgen(readonly, js_name = bytesOut)]
    pub bytes_out: f64,
}

#[wasm_bindgen]
impl LinkReport {
    /// Who is, or should be, at the other end: 64 hexadecimal digits.
    #[wasm_bindgen(getter)]
    pub fn peer(&self) -> String {
        self.peer.clone()
    }
}

impl Driver {
    pub(crate) fn report_counters(&self) -> PeerReport {
        let stats = self.node.stats();
        PeerReport {
            bad_groups: stats.bad_groups as f64,
            control_bytes_in: self.control.received as f64,
            control_bytes_out: self.control.sent as f64,
            disk_bytes: stats.disk_bytes as f64,
            origin_bytes: stats.origin_bytes as f64,
            peer_bytes: stats.peer_bytes as f64,
            segments: stats.segments as f64,
            service_connected: self.service.is_connected(),
            upload_bytes: stats.upload_bytes as f64,
            verified_groups: stats.verified_groups as f64,
        }
    }

    /// What `TabswarmMesh` has, in its order.
    pub(crate) fn report_mesh(&self) -> Vec<f64> {
        let mesh = self.node.mesh_stats();
        vec![
            f64::from(u8::from(mesh.answers)),
            mesh.contacts as f64,
            mesh.lookups as f64,
            mesh.found as f64,
            mesh.service_introductions as f64,
            mesh.mesh_introductions as f64,
            mesh.forwarded.own as f64,
            mesh.forwarded.others as f64,
        ]
    }

    pub(crate) fn report_links(&self) -> Vec<LinkReport> {
        self.node.links().map(|info| self.report_link(&info)).collect()
    }

    fn report_link(&self, info: &LinkInfo) -> LinkReport {
        let open = self.links.get(info.link).is_some_and(|link| link.stage == Stage::Open);
        LinkReport {
            peer: info.peer.to_string(),
            link: info.link.value() as f64,
            open: open && info.ready,
            partner: info.partner,
            rtt_ms: info.rtt.map(|rtt| rtt.as_secs_f64() * 1000.0),
            bytes_in: info.bytes_in as f64,
            bytes_out: info.bytes_out as f64,
        }
    }
}
