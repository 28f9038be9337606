//! The simulator: real core nodes in virtual time, over a network with delay, bandwidth queues and loss.
//!
//! A [`Scenario`] says who watches what over which network and what goes wrong; [`Scenario::run`] gives a [`Report`] in
//! counts. Hosts run [`tabswarm_core::node::Node`] behind a driver of their own, the service runs the real registry, and a
//! run depends on its seed alone. Real bytes are hashed by the nodes, but hosts keep only where in the origin's files their
//! bytes lie.
//!
//! Left out: congestion control, NAT types (a pair connects or not), competing traffic, quality switches.

mod bytes;
mod catalog;
mod crowd;
mod host;
mod links;
mod mesh;
mod network;
mod origin;
mod player;
mod report;
mod scenario;
mod service;
mod tamper;
mod uplink;
mod world;

pub use catalog::{CatalogSpec, RootsMode};
pub use host::{FetchTimes, HostId};
pub use mesh::Mesh;
pub use network::NetworkSpec;
pub(crate) use network::fraction;
pub use origin::{Fault, FaultKind, OriginSpec};
pub use player::PlayerSpec;
pub use report::{Report, ViewerReport};
pub use scenario::{Leave, Scenario, Viewer, seed_or};
pub use service::ServiceSpec;
pub use tamper::Tamper;
