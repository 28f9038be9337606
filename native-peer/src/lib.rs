//! The native tabswarm peer, as a library behind the `tabswarm` command.
//!
//! [`publish`] reads an HLS stream, hashes it, and writes the manifest and group lists that let tabs verify it; [`key_file`] keeps
//! the publisher's key.

pub mod cli;
pub mod key_file;
pub mod publish;
