//! The data plane between peers: who has what, what was asked of whom, what is owed to whom.
//!
//! Nothing here knows segments' bytes, the origin or the service; [`crate::node`] carries results between them.

mod asking;
mod assign;
mod bep3;
mod capacity;
mod choke;
mod claims;
pub(crate) mod duty;
mod giving;
mod merit;
mod offers;
mod outstanding;
mod partners;
mod rate;
mod snub;

pub(crate) use asking::{Answer, Asking, Late};
pub(crate) use assign::{Holder, assign, rarest_first};
pub(crate) use bep3::Rounds;
pub(crate) use capacity::Capacity;
pub(crate) use choke::{Candidate, Choker, MEMORY, NEW, Turn, has_time, share};
pub(crate) use claims::{Claim, Claims};
pub use giving::BULK_LOW;
pub(crate) use giving::{Giving, Run, Upload};
pub(crate) use merit::Merit;
pub(crate) use offers::{KEPT, pieces, places};
pub(crate) use partners::{Moved, Traffic, is_poor};
pub(crate) use rate::Rate;
