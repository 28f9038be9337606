//! The tabswarm signaling and index service: admits peers, introduces them to each other, carries their introductions,
//! and attests the roots of segments.
//!
//! [`Service::start`] makes a service from a [`Config`], [`app`] its routes, [`serve`] serves them. [`registry`] is the
//! part without IO, which the simulator runs too. State lives in memory; only the issuer's key outlives a restart.

mod app;
mod attest;
mod blocklist;
mod connection;
pub mod dev;
mod groups;
mod issuer;
mod limits;
mod outbox;
mod rate;
pub mod registry;
mod server;
mod service;
mod session;
mod stun;
mod token;

pub use app::{SWARM_PATH, app};
pub use attest::{
    AttestExtension, AttestOrigin, AttestOriginError, AttestorError, USER_AGENT as ATTESTOR_USER_AGENT,
};
pub use blocklist::BlocklistError;
pub use issuer::{ISSUER_KEY_FILE, IssuerError};
pub use limits::Limits;
pub use rate::Rate;
pub use server::serve;
pub use service::{Config, Service, StartError};
pub use stun::respond as respond_stun;
pub use token::{AccessToken, TokenError};
