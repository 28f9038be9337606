//! The signaling service over real sockets: every test starts a service on 127.0.0.1:0 and talks to it as peers do.

mod abuse;
mod admission;
mod attestation;
mod blocks;
mod client;
mod dev;
mod harness;
mod introductions;
mod origin;
