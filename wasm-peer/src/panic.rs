//! A panic aborts the module: nothing in it may be called again. The page's side learns why here, finds the module
//! dead when the call returns with a trap, and goes on over plain HTTP.

use std::cell::RefCell;

use js_sys::Function;
use wasm_bindgen::prelude::*;

thread_local! {
    static REPORT: RefCell<Option<Function>> = const { RefCell::new(None) };
}

/// Sets what is told of a panic: a function that takes the message.
#[wasm_bindgen(js_name = onPanic)]
pub fn on_panic(#[wasm_bindgen(unchecked_param_type = "(message: string) => void")] report: Function) {
    REPORT.with(|slot| *slot.borrow_mut() = Some(report));
    std::panic::set_hook(Box::new(|info| {
        let message = info.to_string();
        REPORT.with(|slot| {
            if let Ok(slot) = slot.try_borrow()
                && let Some(report) = slot.as_ref()
            {
                // The module is lost either way.
                let _ = report.call1(&JsValue::NULL, &JsValue::from(message));
            }
        });
    }));
}
