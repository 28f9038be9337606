//! Limits on what remotes may do: bans, token buckets, the dial budget.
//!
//! Choking and reputation are not here: this module only says what breaks a rule or a limit.

mod bans;
mod budget;

pub use bans::{Bans, Violation};
pub use budget::{DialBudget, TokenBucket};
