//! The WebSocket to the service. When to connect and how long to wait before the next try is the node's business.

use wasm_bindgen::prelude::*;
use web_sys::{BinaryType, WebSocket};

use crate::hooks::{Callbacks, Kind};

/// See the module documentation.
pub(crate) struct Service {
    callbacks: Callbacks,
    url: String,
    socket: Option<WebSocket>,
}

impl Service {
    pub(crate) fn new(callbacks: Callbacks, url: String) -> Self {
        Self { callbacks, url, socket: None }
    }

    /// Opens the WebSocket. Fails for an address that the page may not connect to.
    pub(crate) fn connect(&mut self) -> Result<(), JsValue> {
        self.close();
        let socket = WebSocket::new(&self.url)?;
        self.callbacks.opened(&socket);
        socket.set_binary_type(BinaryType::Arraybuffer);
        socket.set_onopen(Some(&self.callbacks.of(Kind::ServiceOpen, 0)));
        socket.set_onmessage(Some(&self.callbacks.of(Kind::ServiceMessage, 0)));
        // An error is always followed by a close.
        socket.set_onclose(Some(&self.callbacks.of(Kind::ServiceClosed, 0)));
        self.socket = Some(socket);
        Ok(())
    }

    /// Whether a WebSocket is open or opening.
    pub(crate) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    pub(crate) fn send(&self, message: &[u8]) -> Result<(), JsValue> {
        self.socket.as_ref().map_or(Ok(()), |socket| socket.send_with_u8_array(message))
    }

    /// Closes the WebSocket, which sends what is still in it, and hears no more of it.
    pub(crate) fn close(&mut self) {
        if let Some(socket) = self.socket.take() {
            socket.set_onopen(None);
            socket.set_onmessage(None);
            socket.set_onclose(None);
            // Refused for close codes only, and none is given.
            let _ = socket.close();
        }
    }
}
