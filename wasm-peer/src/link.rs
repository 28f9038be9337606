//! One WebRTC connection: two negotiated data channels, descriptions as fields, no closure of its own.

use js_sys::{Function, Uint8Array};
use tabswarm_core::{
    id::LinkId,
    identity::{Candidate, Description, IdentityError, answer_sdp, offer_sdp},
    node::{BULK_LOW, SdpKind},
};
use wasm_bindgen::prelude::*;
use web_sys::{
    RtcConfiguration, RtcDataChannel, RtcDataChannelInit, RtcDataChannelState, RtcDataChannelType,
    RtcIceCandidateInit, RtcPeerConnection, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use crate::hooks::{Callbacks, Kind};

/// How far a connection has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Stage {
    /// The local description is being made. Candidates found meanwhile are part of it.
    Describing,
    /// Descriptions and candidates are exchanged.
    Connecting,
    /// Both channels are open.
    Open,
}

/// See the module documentation.
pub(crate) struct Link {
    id: LinkId,
    /// Whether the local description is an offer or an answer.
    pub(crate) local: SdpKind,
    pub(crate) stage: Stage,
    connection: RtcPeerConnection,
    control: RtcDataChannel,
    bulk: RtcDataChannel,
}

impl Link {
    /// Makes the connection and its channels. Fails when the environment refuses another connection.
    pub(crate) fn new(
        id: LinkId,
        local: SdpKind,
        configuration: &RtcConfiguration,
        callbacks: &Callbacks,
    ) -> Result<Self, JsValue> {
        let connection = RtcPeerConnection::new_with_configuration(configuration)?;
        callbacks.opened(&connection);
        let control = negotiated_channel(&connection, "control", 0);
        let bulk = negotiated_channel(&connection, "bulk", 1);
        let link = Self { id, local, stage: Stage::Describing, connection, control, bulk };
        link.listen(callbacks);
        Ok(link)
    }

    fn listen(&self, callbacks: &Callbacks) {
        let on = |kind| callbacks.of(kind, self.id.value());
        let (opened, closed) = (on(Kind::ChannelOpen), on(Kind::ChannelClosed));
        for (channel, message) in [(&self.control, Kind::ControlMessage), (&self.bulk, Kind::BulkMessage)] {
            channel.set_onopen(Some(&opened));
            channel.set_onclose(Some(&closed));
            channel.set_onmessage(Some(&on(message)));
        }
        self.bulk.set_buffered_amount_low_threshold(BULK_LOW as u32);
        self.bulk.set_onbufferedamountlow(Some(&on(Kind::BulkLow)));
        self.connection.set_onicecandidate(Some(&on(Kind::CandidateFound)));
        self.connection.set_onconnectionstatechange(Some(&on(Kind::StateChanged)));
        self.connection.set_ondatachannel(Some(&on(Kind::ForeignChannel)));
    }

    /// Starts to make an offer.
    pub(crate) fn offer(&self, callbacks: &Callbacks) {
        self.settle(&self.connection.create_offer(), Kind::OfferMade, callbacks);
    }

    /// Starts to apply a remote offer.
    pub(crate) fn apply_offer(&self, remote: &Description, callbacks: &Callbacks) {
        let description = session_description(RtcSdpType::Offer, &offer_sdp(remote));
        let promise = self.connection.set_remote_description(&description);
        self.settle(&promise, Kind::RemoteOfferSet, callbacks);
    }

    /// Starts to make an answer to the offer that was applied.
    pub(crate) fn answer(&self, callbacks: &Callbacks) {
        self.settle(&self.connection.create_answer(), Kind::AnswerMade, callbacks);
    }

    /// Takes the offer or answer that was made.
    pub(crate) fn set_local(&self, made: &JsValue, callbacks: &Callbacks) {
        let promise = self.connection.set_local_description(made.unchecked_ref());
        self.settle(&promise, Kind::LocalSet, callbacks);
    }

    /// Starts to apply a remote answer.
    pub(crate) fn apply_answer(&self, remote: &Description, callbacks: &Callbacks) {
        let description = session_description(RtcSdpType::Answer, &answer_sdp(remote));
        let promise = self.connection.set_remote_description(&description);
        self.settle(&promise, Kind::Ignored, callbacks);
    }

    /// Adds a remote candidate. One that the browser refuses is no loss: others may do.
    pub(crate) fn add_candidate(&self, candidate: &Candidate, callbacks: &Callbacks) {
        let init = RtcIceCandidateInit::new(candidate.as_str());
        init.set_sdp_mid(Some("0"));
        let promise = self.connection.add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&init));
        callbacks.settle(&promise, Kind::Ignored, Kind::Ignored, self.id.value());
    }

    fn settle(&self, promise: &js_sys::Promise, next: Kind, callbacks: &Callbacks) {
        callbacks.settle(promise, next, Kind::LinkFailed, self.id.value());
    }

    /// The local description, with the candidates found so far.
    pub(crate) fn description(&self) -> Result<Description, IdentityError> {
        let sdp = self.connection.local_description().map(|description| description.sdp());
        Description::from_sdp(&sdp.unwrap_or_default())
    }

    pub(crate) fn is_open(&self) -> bool {
        [&self.control, &self.bulk].iter().all(|channel| channel.ready_state() == RtcDataChannelState::Open)
    }

    pub(crate) fn has_failed(&self) -> bool {
        let state = self.connection.connection_state();
        matches!(state, RtcPeerConnectionState::Failed | RtcPeerConnectionState::Closed)
    }

    pub(crate) fn send_control(&self, message: &[u8]) -> Result<(), JsValue> {
        self.control.send_with_u8_array(message)
    }

    pub(crate) fn send_bulk(&self, message: &Uint8Array) -> Result<(), JsValue> {
        self.bulk.send_with_js_u8_array(message)
    }

    /// Bytes of the bulk channel that are not sent yet.
    pub(crate) fn bulk_buffered(&self) -> u64 {
        u64::from(self.bulk.buffered_amount())
    }

    /// Passes the connection's statistics to a function, after the link's number.
    pub(crate) fn report_path(&self, report: &Function, callbacks: &Callbacks) {
        let bound: Function =
            report.bind1(&JsValue::NULL, &JsValue::from(self.id.value() as f64)).unchecked_into();
        callbacks.settle_with(&self.connection.get_stats(), &bound);
    }

    /// Lets go of every handler: a connection whose handlers reach the page is not collected.
    pub(crate) fn silence(&self) {
        for channel in [&self.control, &self.bulk] {
            channel.set_onopen(None);
            channel.set_onclose(None);
            channel.set_onmessage(None);
        }
        self.bulk.set_onbufferedamountlow(None);
        self.connection.set_onicecandidate(None);
        self.connection.set_onconnectionstatechange(None);
        self.connection.set_ondatachannel(None);
    }

    /// Closes the channels, which sends what is still in them.
    pub(crate) fn close_channels(&self) {
        self.control.close();
        self.bulk.close();
    }

    /// Closes at once, and gives the connection back to be watched until it is collected.
    pub(crate) fn close(self) -> RtcPeerConnection {
        self.silence();
        self.connection.close();
        self.connection
    }
}

fn negotiated_channel(connection: &RtcPeerConnection, label: &str, id: u16) -> RtcDataChannel {
    let init = RtcDataChannelInit::new();
    init.set_negotiated(true);
    init.set_id(id);
    let channel = connection.create_data_channel_with_data_channel_dict(label, &init);
    channel.set_binary_type(RtcDataChannelType::Arraybuffer);
    channel
}

fn session_description(kind: RtcSdpType, sdp: &str) -> RtcSessionDescriptionInit {
    let description = RtcSessionDescriptionInit::new(kind);
    description.set_sdp(sdp);
    description
}
