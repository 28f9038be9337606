//! The data plane between peers: who has what, what was asked of whom, what is owed to whom.
//!
//! Nothing here knows segments' bytes, the origin or the service; [`crate::node`] carries results between them.
//! Choking and origin duty have their room here and no code yet.

mod assign;
mod claims;
mod rate;
mod transfer;

pub(crate) use assign::{Holder, assign};
pub(crate) use transfer::{Answer, Transfer, Upload};
