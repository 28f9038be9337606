//! The node's monotonic clock: `performance.now()`.

use tabswarm_core::time::Timestamp;
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
extern "C" {
    #[wasm_bindgen(js_namespace = performance, js_name = now)]
    fn performance_now() -> f64;
}

/// The latest reading, so that time never runs backwards for the node.
#[derive(Default)]
pub(crate) struct Clock {
    latest: Timestamp,
}

impl Clock {
    pub(crate) fn now(&mut self) -> Timestamp {
        let reading = Timestamp::from_micros((performance_now() * 1000.0) as u64);
        self.latest = self.latest.max(reading);
        self.latest
    }
}
