//! Simulator, service tests, browser tests and benchmarks.

pub mod overlay;
mod queue;
pub mod sim;
