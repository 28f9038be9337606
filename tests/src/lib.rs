//! Simulator, service tests, browser tests and benchmarks.

pub mod sim;
