//! Network groups: where peers connect from, and what one place may take.
//!
//! Sans-IO. A group is a /24 or a /48, known to others only as a keyed hash; loopback and private addresses are one
//! group without limits.

use std::{collections::HashMap, net::IpAddr, time::Duration};

use tabswarm_core::{id::NetworkGroup, time::Timestamp};

use crate::{
    limits::{Limits, MAX_GROUPS},
    rate::{Bucket, Rate},
};

const CONTEXT: &str = "tabswarm 2025 network group";

/// Where a peer connects from.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub(crate) struct Locality {
    pub(crate) group: NetworkGroup,
    /// Loopback or private: not limited.
    exempt: bool,
}

impl Locality {
    /// The group, unless it has no limits.
    pub(crate) fn limited(&self) -> Option<NetworkGroup> {
        (!self.exempt).then_some(self.group)
    }
}

/// Computes groups. The key comes from the issuer's seed, so a group stays the same over restarts.
pub(crate) struct GroupKey([u8; 32]);

impl GroupKey {
    pub(crate) fn derive(issuer_seed: &[u8; 32]) -> Self {
        Self(blake3::derive_key(CONTEXT, issuer_seed))
    }

    pub(crate) fn locality(&self, address: IpAddr) -> Locality {
        let prefix = match address.to_canonical() {
            local if is_local(local) => return Locality { group: NetworkGroup::LOCAL, exempt: true },
            IpAddr::V4(v4) => {
                let [a, b, c, _] = v4.octets();
                [4, a, b, c, 0, 0, 0]
            }
            IpAddr::V6(v6) => {
                let [a, b, c, d, e, f, ..] = v6.octets();
                [6, a, b, c, d, e, f]
            }
        };
        self.hashed(&prefix)
    }

    /// One group with limits, of all whose address a proxy should have named and did not.
    pub(crate) fn unknown(&self) -> Locality {
        self.hashed(b"unknown")
    }

    fn hashed(&self, prefix: &[u8; 7]) -> Locality {
        let hash = blake3::keyed_hash(&self.0, prefix);
        let mut group = [0; 16];
        group.copy_from_slice(&hash.as_bytes()[..16]);
        Locality { group: NetworkGroup::from_bytes(group), exempt: false }
    }
}

/// Loopback, private or link-local.
pub(crate) fn is_local(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

/// The group may not have more now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Overloaded {
    /// When to try again.
    pub(crate) retry_after: Duration,
}

/// When a refused connection may try again: there is no telling when another one closes.
const CONNECTION_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
struct Group {
    connections: u32,
    sockets: u32,
    opens: Bucket,
    certificates: Bucket,
    fetches: Bucket,
}

impl Group {
    /// Whether forgetting it would give it nothing.
    fn is_idle(&self, now: Timestamp) -> bool {
        self.connections == 0
            && self.sockets == 0
            && [self.opens, self.certificates, self.fetches].iter().all(|bucket| bucket.is_full(now))
    }
}

/// Counts what each group has.
#[derive(Debug)]
pub(crate) struct Groups {
    connections_per_group: u32,
    sockets_per_group: u32,
    opens: Rate,
    certificates: Rate,
    fetches: Rate,
    groups: HashMap<NetworkGroup, Group>,
}

impl Groups {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            connections_per_group: limits.connections_per_group,
            sockets_per_group: limits.sockets_per_group,
            opens: limits.opens_per_group,
            certificates: limits.certificates,
            fetches: limits.attest_fetches_per_group,
            groups: HashMap::new(),
        }
    }

    /// Counts a connection in; [`Groups::close`] counts it out.
    pub(crate) fn open(&mut self, from: Locality, now: Timestamp) -> Result<(), Overloaded> {
        let (most, opens) = (self.connections_per_group, self.opens);
        let Some(group) = self.limited(from, now)? else { return Ok(()) };
        if group.connections >= most {
            return Err(Overloaded { retry_after: CONNECTION_RETRY });
        }
        group.opens.take(&opens, 1, now).map_err(|retry_after| Overloaded { retry_after })?;
        group.connections += 1;
        Ok(())
    }

    pub(crate) fn close(&mut self, from: Locality, now: Timestamp) {
        self.release(from, now, |group| &mut group.connections);
    }

    /// Counts a socket in that is no connection yet; [`Groups::close_socket`] counts it out.
    pub(crate) fn open_socket(&mut self, from: Locality, now: Timestamp) -> Result<(), Overloaded> {
        let most = self.sockets_per_group;
        let Some(group) = self.limited(from, now)? else { return Ok(()) };
        if group.sockets >= most {
            return Err(Overloaded { retry_after: CONNECTION_RETRY });
        }
        group.sockets += 1;
        Ok(())
    }

    pub(crate) fn close_socket(&mut self, from: Locality, now: Timestamp) {
        self.release(from, now, |group| &mut group.sockets);
    }

    /// The state of a group, made if there is room; `None` for one without limits.
    fn limited(&mut self, from: Locality, now: Timestamp) -> Result<Option<&mut Group>, Overloaded> {
        if from.exempt {
            return Ok(None);
        }
        if self.groups.len() >= MAX_GROUPS && !self.groups.contains_key(&from.group) {
            self.groups.retain(|_, group| !group.is_idle(now));
            if self.groups.len() >= MAX_GROUPS {
                return Err(Overloaded { retry_after: CONNECTION_RETRY });
            }
        }
        Ok(Some(self.groups.entry(from.group).or_default()))
    }

    fn release(&mut self, from: Locality, now: Timestamp, count: impl FnOnce(&mut Group) -> &mut u32) {
        let Some(group) = self.groups.get_mut(&from.group) else { return };
        let count = count(group);
        *count = count.saturating_sub(1);
        if group.is_idle(now) {
            self.groups.remove(&from.group);
        }
    }

    /// Charges for a new peer id.
    pub(crate) fn certify(&mut self, from: Locality, now: Timestamp) -> Result<(), Overloaded> {
        let Some(group) = self.groups.get_mut(&from.group).filter(|_| !from.exempt) else { return Ok(()) };
        let taken = group.certificates.take(&self.certificates, 1, now);
        taken.map_err(|retry_after| Overloaded { retry_after })
    }

    /// Charges for a request of the attestor to its origin.
    pub(crate) fn fetch(&mut self, from: Locality, now: Timestamp) -> Result<(), Overloaded> {
        let Some(group) = self.groups.get_mut(&from.group).filter(|_| !from.exempt) else { return Ok(()) };
        let taken = group.fetches.take(&self.fetches, 1, now);
        taken.map_err(|retry_after| Overloaded { retry_after })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn locality(address: &str) -> Locality {
        GroupKey::derive(&[1; 32]).locality(address.parse().unwrap())
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_millis(1_000 * secs)
    }

    #[test]
    fn a_group_is_a_24_or_a_48() {
        assert_eq!(locality("203.0.113.1"), locality("203.0.113.254"));
        assert_ne!(locality("203.0.113.1"), locality("203.0.112.1"));
        assert_eq!(locality("2001:db8:1:2::3"), locality("2001:db8:1:ffff::"));
        assert_ne!(locality("2001:db8:1::"), locality("2001:db8:2::"));
        assert_eq!(locality("::ffff:203.0.113.9"), locality("203.0.113.1"));
    }

    #[test]
    fn a_group_tells_nothing_without_the_key() {
        let other = GroupKey::derive(&[2; 32]).locality("203.0.113.1".parse().unwrap());
        assert_ne!(other.group, locality("203.0.113.1").group);
    }

    #[test]
    fn loopback_and_private_addresses_are_one_group_without_limits() {
        let local = locality("127.0.0.1");
        for address in
            ["::1", "10.1.2.3", "192.168.1.1", "172.16.0.1", "fe80::1", "fd00::1", "::ffff:127.0.0.1"]
        {
            assert_eq!(locality(address), local, "{address}");
        }
        let once = Rate { burst: 1, interval: Duration::from_secs(3600) };
        let limits = Limits {
            connections_per_group: 1,
            opens_per_group: once,
            attest_fetches_per_group: once,
            ..Limits::default()
        };
        let mut groups = Groups::new(&limits);
        for _ in 0..20 {
            assert_eq!((groups.open(local, at(0)), groups.certify(local, at(0))), (Ok(()), Ok(())));
            assert_eq!(groups.fetch(local, at(0)), Ok(()));
        }
    }

    #[test]
    fn new_peer_ids_of_a_group_are_eight_and_then_one_in_thirty_seconds() {
        let mut groups = Groups::new(&Limits::default());
        let from = locality("203.0.113.1");
        groups.open(from, at(0)).unwrap();
        for _ in 0..8 {
            assert_eq!(groups.certify(from, at(0)), Ok(()));
        }
        assert_eq!(groups.certify(from, at(1)), Err(Overloaded { retry_after: Duration::from_secs(29) }));
        assert_eq!(groups.certify(locality("203.0.114.1"), at(1)), Ok(()));
        assert_eq!(groups.certify(from, at(30)), Ok(()));
        groups.close(from, at(31));
        groups.open(from, at(32)).unwrap();
        assert!(groups.certify(from, at(32)).is_err(), "closing and opening again buys nothing");
    }

    #[test]
    fn connecting_again_buys_no_more_connections_and_no_more_fetches() {
        let few = |burst| Rate { burst, interval: Duration::from_secs(10) };
        let limits =
            Limits { opens_per_group: few(3), attest_fetches_per_group: few(2), ..Limits::default() };
        let mut groups = Groups::new(&limits);
        let from = locality("203.0.113.1");
        for _ in 0..2 {
            groups.open(from, at(0)).unwrap();
            assert_eq!(groups.fetch(from, at(0)), Ok(()));
            groups.close(from, at(0));
        }
        groups.open(from, at(0)).unwrap();
        assert_eq!(groups.fetch(from, at(0)), Err(Overloaded { retry_after: Duration::from_secs(10) }));
        groups.close(from, at(0));
        assert_eq!(groups.open(from, at(0)), Err(Overloaded { retry_after: Duration::from_secs(10) }));
        assert_eq!(groups.open(locality("203.0.114.1"), at(0)), Ok(()));
        groups.open(from, at(10)).unwrap();
        groups.close(from, at(1_000));
        assert_eq!(groups.groups.len(), 1, "a group with nothing taken is forgotten");
    }

    #[test]
    fn sockets_of_a_group_are_limited_apart_from_its_connections() {
        let mut groups = Groups::new(&Limits { sockets_per_group: 2, ..Limits::default() });
        let from = locality("203.0.113.1");
        assert_eq!((groups.open_socket(from, at(0)), groups.open_socket(from, at(0))), (Ok(()), Ok(())));
        assert!(groups.open_socket(locality("203.0.113.2"), at(0)).is_err());
        assert_eq!(groups.open_socket(locality("203.0.114.1"), at(0)), Ok(()));
        assert_eq!(groups.open(from, at(0)), Ok(()));
        groups.close_socket(from, at(0));
        assert_eq!(groups.open_socket(from, at(0)), Ok(()));
        for _ in 0..3 {
            assert_eq!(groups.open_socket(locality("127.0.0.1"), at(0)), Ok(()));
        }
    }

    #[test]
    fn clients_of_whom_a_proxy_says_nothing_are_one_group_with_limits() {
        let unknown = GroupKey::derive(&[1; 32]).unknown();
        assert_ne!(unknown.group, locality("127.0.0.1").group);
        let mut groups = Groups::new(&Limits { connections_per_group: 1, ..Limits::default() });
        assert_eq!(groups.open(unknown, at(0)), Ok(()));
        assert!(groups.open(unknown, at(0)).is_err());
    }

    #[test]
    fn connections_of_a_group_are_limited_and_counted_out() {
        let mut groups = Groups::new(&Limits { connections_per_group: 2, ..Limits::default() });
        let from = locality("2001:db8::1");
        groups.open(from, at(0)).unwrap();
        groups.open(from, at(0)).unwrap();
        assert!(groups.open(from, at(0)).is_err());
        groups.close(from, at(0));
        assert_eq!(groups.open(from, at(0)), Ok(()));
        groups.close(from, at(1));
        groups.close(from, at(1));
        assert!(groups.groups.is_empty());
    }
}
