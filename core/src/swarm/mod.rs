//! The data plane between peers: who has what, what was asked of whom, what is owed to whom.
//!
//! Nothing here knows segments' bytes, the origin or the service; [`crate::node`] carries results between them.

mod assign;
mod bep3;
mod choke;
mod claims;
pub(crate) mod duty;
mod partners;
mod rate;
mod transfer;
mod uplink;

pub(crate) use assign::{Holder, assign, rarest_first};
pub(crate) use bep3::Rounds;
pub(crate) use choke::{Candidate, Choker, Turn, has_time, share};
pub(crate) use claims::Claim;
pub(crate) use partners::{Traffic, is_poor};
pub(crate) use rate::Rate;
pub use transfer::BULK_LOW;
pub(crate) use transfer::{Answer, Transfer, Upload};
pub(crate) use uplink::Uplink;
