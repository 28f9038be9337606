//! The overlay: Kademlia over live links.
//!
//! A browser's peer can't be dialled by address, and each connection is dear. So who is in the routing table is who there is a link to:
//! a contact enters when its link is ready and leaves with it, and a lookup goes from link to link instead of opening one.
//!
//! What is looked for and who looks live in one space of 256 bits ([`Key`]), near and far by XOR
//! (P. Maymounkov, D. Mazières, *Kademlia*, 2002). Each peer knows the ones nearest to itself, its siblings
//! (I. Baumgart, S. Mies, *S/Kademlia*, 2007, §4.3), and of each half of the space that it is not in a few: its buckets.
//!
//! What is said of a key is kept by the peers nearest to it, its replicas: who provides it ([`Providers`]), or the newest value that its
//! owner signed ([`Mutables`]). Both take what was verified before, and bound what one peer or one network may make a replica keep.
//!
//! [`Overlay`] is one peer of it all.

mod asks;
mod encoding;
mod key;
mod lookup;
mod mutable;
mod overlay;
mod providers;
mod reading;
mod routes;
mod table;
mod upkeep;
mod width;

pub use asks::{Card, MAX_CERTIFICATE, MAX_INTRODUCTION, MAX_RECORD};
pub use encoding::MAX_ROUTED;
pub use key::{Distance, Key};
pub use lookup::{Found, Lookup, Outcome, Step};
pub use mutable::{LONGEST, MAX_VALUE, Mutables, Put, Sponsor, Value};
pub use overlay::{Overlay, OverlayMessage, OverlayOutput, Proofs, REPLICAS, Setup};
pub use providers::{EXPIRY, MAX_ANSWER, MAX_PROVIDERS, Provider, Providers, REFRESH, Refusal, Shelved};
pub use reading::{Marks, QUORUM, Reading};
pub use routes::{BUDGET, Forwarded, MAX_ASK, PATIENCE, RouteId, RouteMessage, RouteOutput, Routes};
pub use table::{Contact, Offer, Table};
pub use upkeep::{Search, Upkeep};
pub use width::Width;
