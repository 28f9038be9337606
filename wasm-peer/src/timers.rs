//! The one timer of a driver.

use js_sys::Function;
use tabswarm_core::time::Timestamp;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    // A number in browsers, an object elsewhere.
    #[wasm_bindgen(js_name = setTimeout)]
    pub(crate) fn set_timeout(callback: &Function, delay_ms: f64) -> JsValue;
    #[wasm_bindgen(js_name = clearTimeout)]
    pub(crate) fn clear_timeout(timer: &JsValue);
}

/// Longest delay that is armed: browsers take delays beyond 2^31 ms for zero.
const MAX_DELAY_MS: f64 = 60_000.0;

/// Wakes the driver when the node wants it.
pub(crate) struct Timer {
    callback: Function,
    armed: Option<(Timestamp, JsValue)>,
}

impl Timer {
    pub(crate) fn new(callback: Function) -> Self {
        Self { callback, armed: None }
    }

    /// The timer that was armed has fired.
    pub(crate) fn fired(&mut self) {
        self.armed = None;
    }

    /// Arms for `due`. A timer that fires earlier stays: waking early does no harm, and re-arming on every message would
    /// cost more.
    pub(crate) fn arm(&mut self, due: Option<Timestamp>, now: Timestamp) {
        let Some(due) = due else { return self.stop() };
        if self.armed.as_ref().is_some_and(|(at, _)| *at <= due) {
            return;
        }
        self.stop();
        // Rounded up: a browser timer that fires a fraction early would only come again.
        let delay_ms = (due.saturating_since(now).as_micros() as u64).div_ceil(1000) as f64;
        let timer = set_timeout(&self.callback, delay_ms.min(MAX_DELAY_MS));
        self.armed = Some((due, timer));
    }

    pub(crate) fn stop(&mut self) {
        if let Some((_, timer)) = self.armed.take() {
            clear_timeout(&timer);
        }
    }
}
