//! The connections of a driver, from the dial to the garbage collector.

use js_sys::{Array, Function};
use litemap::LiteMap;
use tabswarm_core::{id::LinkId, identity::Description, node::SdpKind, wire::IceServer};
use wasm_bindgen::prelude::*;
use web_sys::{RtcConfiguration, RtcIceServer, RtcPeerConnection};

use crate::{
    hooks::{Callbacks, Kind},
    link::Link,
    timers::{clear_timeout, set_timeout},
};

/// How long a link that the node closed may still send what was written before.
const LINGER_MS: f64 = 500.0;

#[wasm_bindgen]
extern "C" {
    type FinalizationRegistry;
    #[wasm_bindgen(constructor, catch)]
    fn new(collected: &Function) -> Result<FinalizationRegistry, JsValue>;
    #[wasm_bindgen(method)]
    fn register(this: &FinalizationRegistry, target: &RtcPeerConnection);
}

/// See the module documentation.
pub(crate) struct Links {
    callbacks: Callbacks,
    /// The page's own ICE servers, instead of those the service names.
    ice_servers: Option<Array>,
    links: LiteMap<LinkId, Link>,
    /// Closed by the node, with the timer that ends what they may still send.
    lingering: LiteMap<LinkId, (Link, JsValue)>,
    registry: Option<FinalizationRegistry>,
    uncollected: usize,
}

impl Links {
    pub(crate) fn new(callbacks: Callbacks, ice_servers: Option<Array>) -> Self {
        let registry = FinalizationRegistry::new(&callbacks.of(Kind::Collected, 0)).ok();
        Self {
            callbacks,
            ice_servers,
            links: LiteMap::new(),
            lingering: LiteMap::new(),
            registry,
            uncollected: 0,
        }
    }

    /// Makes a connection that offers, or answers `remote`. Fails when the environment refuses another connection.
    pub(crate) fn open(
        &mut self,
        id: LinkId,
        remote: Option<&Description>,
        named: &[IceServer],
    ) -> Result<(), JsValue> {
        let local = if remote.is_some() { SdpKind::Answer } else { SdpKind::Offer };
        let link = Link::new(id, local, &self.configuration(named), &self.callbacks)?;
        match remote {
            Some(remote) => link.apply_offer(remote, &self.callbacks),
            None => link.offer(&self.callbacks),
        }
        self.links.insert(id, link);
        Ok(())
    }

    fn configuration(&self, named: &[IceServer]) -> RtcConfiguration {
        let servers = self.ice_servers.clone().unwrap_or_else(|| named.iter().map(ice_server).collect());
        let configuration = RtcConfiguration::new();
        configuration.set_ice_servers(&servers);
        configuration
    }

    pub(crate) fn get(&self, id: LinkId) -> Option<&Link> {
        self.links.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: LinkId) -> Option<&mut Link> {
        self.links.get_mut(&id)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Link> {
        self.links.values()
    }

    pub(crate) fn callbacks(&self) -> &Callbacks {
        &self.callbacks
    }

    /// Forgets a link that failed. Returns whether it was there.
    pub(crate) fn abandon(&mut self, id: LinkId) -> bool {
        let link = self.links.remove(&id);
        link.map(|link| self.close(link)).is_some()
    }

    /// Closes a link after what was sent on it.
    pub(crate) fn close_gently(&mut self, id: LinkId) {
        let Some(link) = self.links.remove(&id) else { return };
        if !link.is_open() {
            return self.close(link);
        }
        link.silence();
        link.close_channels();
        let timer = set_timeout(&self.callbacks.of(Kind::Lingered, id.value()), LINGER_MS);
        self.lingering.insert(id, (link, timer));
    }

    /// The time of a link that was closed gently is over.
    pub(crate) fn lingered(&mut self, id: LinkId) {
        if let Some((link, _)) = self.lingering.remove(&id) {
            self.close(link);
        }
    }

    /// Closes everything at once.
    pub(crate) fn close_all(&mut self) {
        for (_, link) in std::mem::take(&mut self.links) {
            self.close(link);
        }
        for (_, (link, timer)) in std::mem::take(&mut self.lingering) {
            clear_timeout(&timer);
            self.close(link);
        }
    }

    // A closed connection holds one of Chromium's 500 places until it is collected.
    fn close(&mut self, link: Link) {
        let connection = link.close();
        if let Some(registry) = &self.registry {
            registry.register(&connection);
            self.uncollected += 1;
        }
    }

    /// A closed connection was collected.
    pub(crate) fn collected(&mut self) {
        self.uncollected = self.uncollected.saturating_sub(1);
    }

    /// Closed connections that were not collected yet.
    pub(crate) fn uncollected(&self) -> usize {
        self.uncollected
    }
}

fn ice_server(server: &IceServer) -> JsValue {
    let entry = RtcIceServer::new();
    let urls: Array = server.urls.iter().map(|url| JsValue::from_str(url)).collect();
    entry.set_urls(&urls);
    if !server.username.is_empty() {
        entry.set_username(&server.username);
        entry.set_credential(&server.credential);
    }
    entry.into()
}
