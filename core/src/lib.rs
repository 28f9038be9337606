//! The tabswarm protocol, sans-IO: one core for the tab, the native peer and the simulator.
//!
//! [`node::Node`] is the whole peer. It owns no socket, clock, randomness or segment bytes: a driver feeds it what
//! happened and carries out what it asks for. The layers below it import downwards only:
//! `node -> {guard, kad, store, swarm} -> {content, identity, wire} -> {bounded, id, time, units}`.

pub mod bounded;
mod bytes;
pub mod content;
pub mod guard;
pub mod id;
pub mod identity;
pub mod kad;
pub mod node;
mod random;
pub mod store;
mod swarm;
pub mod time;
pub mod units;
pub mod wire;
