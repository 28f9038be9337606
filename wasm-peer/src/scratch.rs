//! The fixed buffer that JS bytes pass through on their way to the node: module memory does not grow with segments.

use js_sys::Uint8Array;
use tabswarm_core::{
    content::GROUP_LEN,
    wire::{MAX_DATA_LEN, MAX_RUN},
};

/// Most bytes that are lent to the node at once: the longest message.
const SCRATCH_LEN: usize = MAX_DATA_LEN;
/// Of longer bytes so many are lent at a time: whole groups.
pub(crate) const PART_LEN: usize = MAX_RUN * GROUP_LEN as usize;

/// See the module documentation.
pub(crate) struct Scratch(Box<[u8]>);

impl Scratch {
    pub(crate) fn new() -> Self {
        Self(vec![0; SCRATCH_LEN].into_boxed_slice())
    }

    /// Copies bytes in; `None` if they are longer than [`SCRATCH_LEN`].
    pub(crate) fn fill(&mut self, source: &Uint8Array) -> Option<&[u8]> {
        let filled = self.0.get_mut(..source.length() as usize)?;
        source.copy_to(filled);
        Some(filled)
    }
}

#[cfg(all(test, target_arch = "wasm32"))]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test as test;

    use super::*;

    #[test]
    fn bytes_are_lent_as_they_are_up_to_the_limit() {
        let mut scratch = Scratch::new();
        let full = Uint8Array::new_with_length(SCRATCH_LEN as u32);
        full.fill(7, 1, 2);
        assert_eq!(scratch.fill(&full).map(|lent| (lent.len(), lent[0], lent[1])), Some((SCRATCH_LEN, 0, 7)));
        assert_eq!(scratch.fill(&full.subarray(1, 3)), Some([7, 0].as_slice()));
        assert_eq!(scratch.fill(&Uint8Array::new_with_length(SCRATCH_LEN as u32 + 1)), None);
    }
}
