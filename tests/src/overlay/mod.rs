//! The overlay at scale: [`tabswarm_core::kad`]'s tables and routes of many peers in virtual time.
//!
//! Whole nodes are simulated in [`crate::sim`]; a peer here is its routing table and the requests that are under way at it, so that there can be ten
//! thousand of them. A run depends on its seed alone.
//!
//! Left out so far: churn, links that are set up, the upkeep of tables and records, false answers, and a lookup's last steps: super-peers are
//! contacts like others, and there is no service. Whoever asks for what it holds itself has it at once. Tables are made as those of peers that have met whom they
//! looked for: siblings, and for each bucket the quickest of a few.

mod lookups;
mod mesh;
mod rollback;
mod space;

pub use lookups::{Outcomes, Scenario};
pub use rollback::{Rollbacks, rollbacks};
