//! Randomness out of the seed: BLAKE3 keyed with it, over a counter. The hash is in the tab's module anyway.

use std::convert::Infallible;

use hpke::rand_core::{TryCryptoRng, TryRng};

/// Random bytes, the same for the same seed.
#[derive(Debug)]
pub(crate) struct Random {
    seed: [u8; 32],
    counter: u64,
}

impl Random {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        Self { seed, counter: 0 }
    }

    /// The next 32 bytes.
    pub(crate) fn bytes(&mut self) -> [u8; 32] {
        self.counter += 1;
        *blake3::keyed_hash(&self.seed, &self.counter.to_le_bytes()).as_bytes()
    }

    /// The next 16 bytes.
    pub(crate) fn half(&mut self) -> [u8; 16] {
        let mut half = [0; 16];
        half.copy_from_slice(&self.bytes()[..16]);
        half
    }

    /// The next 8 bytes as a number.
    pub(crate) fn number(&mut self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.bytes();
        u64::from_le_bytes([a, b, c, d, e, f, g, h])
    }

    /// A number from 0 to 1, for jitter.
    pub(crate) fn fraction(&mut self) -> f64 {
        let [a, b, c, d, ..] = self.bytes();
        f64::from(u32::from_le_bytes([a, b, c, d])) / f64::from(u32::MAX)
    }
}

/// For what is sealed. None of it can fail.
impl TryRng for Random {
    type Error = Infallible;

    fn try_next_u32(&mut self) -> Result<u32, Infallible> {
        Ok(self.number() as u32)
    }

    fn try_next_u64(&mut self) -> Result<u64, Infallible> {
        Ok(self.number())
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), Infallible> {
        for chunk in bytes.chunks_mut(32) {
            chunk.copy_from_slice(&self.bytes()[..chunk.len()]);
        }
        Ok(())
    }
}

/// BLAKE3 keyed with a secret seed cannot be told from randomness.
impl TryCryptoRng for Random {}
