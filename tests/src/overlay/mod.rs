//! The overlay at scale: [`tabswarm_core::kad`]'s tables and routes of many peers in virtual time.
//!
//! Whole nodes are simulated in [`crate::sim`]. Here there is the overlay alone, in two ways; a run depends on its seed alone.
//!
//! [`Scenario`]: lookups through a mesh at rest. A peer is its routing table and the requests that are under way at it, so that there can be ten thousand
//! of them, and the tables are made: siblings, and for each bucket the quickest of a few. There are no records, no false answers and no service; super-peers
//! are contacts like others; who asks for what it holds itself has it at once.
//!
//! [`Life`]: whole peers of the overlay, which come with a link to three others by the service, meet the rest through the mesh, provide something, look
//! things up and go. Links take time to be made, and one in ten is not. Left out so far: super-peers, kinds of NAT, and who means ill.

mod life;
mod lookups;
mod mesh;
mod rollback;
mod space;
mod times;

pub use life::{Disaster, Life, Lived};
pub use lookups::{Outcomes, Scenario};
pub use rollback::{Rollbacks, rollbacks};
pub use times::Times;
