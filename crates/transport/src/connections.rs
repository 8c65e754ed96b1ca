//! How many connections are open, in all and from each peer. A place is given back when its guard is dropped.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Whom a connection counts for: an IPv4 address, or the /64 of an IPv6 address, which one host holds whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Peer(u128);

impl Peer {
    /// The peer with that address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self(v4.to_ipv6_mapped().to_bits()),
            IpAddr::V6(v6) => Self(v6.to_bits() & !u128::from(u64::MAX)),
        }
    }
}

/// The count.
#[derive(Debug)]
pub struct Connections {
    most: usize,
    most_per_peer: usize,
    open: Mutex<HashMap<Peer, usize>>,
}

/// A connection's place.
#[derive(Debug)]
pub struct Place {
    connections: Arc<Connections>,
    peer: Peer,
}

impl Connections {
    /// So many in all, so many of one peer.
    pub fn new(most: usize, most_per_peer: usize) -> Arc<Self> {
        Arc::new(Self { most, most_per_peer, open: Mutex::default() })
    }

    /// A place for one more connection of that peer, if there is one.
    pub fn admit(self: &Arc<Self>, peer: Peer) -> Option<Place> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let all: usize = open.values().sum();
        let of_peer = open.get(&peer).copied().unwrap_or(0);
        if all >= self.most || of_peer >= self.most_per_peer {
            return None;
        }
        open.insert(peer, of_peer + 1);
        Some(Place { connections: Arc::clone(self), peer })
    }

    /// How many are open.
    pub fn count(&self) -> usize {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut open = self.connections.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&self.peer) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_per_peer_and_given_back() {
        let connections = Connections::new(3, 2);
        let [a, b] = ["10.0.0.1", "10.0.0.2"].map(|text| Peer::of(text.parse().unwrap()));
        let first = connections.admit(a).unwrap();
        let _second = connections.admit(a).unwrap();
        assert!(connections.admit(a).is_none(), "of one peer");
        let _third = connections.admit(b).unwrap();
        assert!(connections.admit(b).is_none(), "in all");
        drop(first);
        assert!(connections.admit(b).is_some());
        assert_eq!(connections.count(), 2);
    }

    #[test]
    fn a_host_with_many_ipv6_addresses_is_one_peer() {
        let peer = |text: &str| Peer::of(text.parse().unwrap());
        assert_eq!(peer("2001:db8::1"), peer("2001:db8::ffff:1"));
        assert_ne!(peer("2001:db8::1"), peer("2001:db8:0:1::1"));
        assert_eq!(peer("::ffff:10.0.0.1"), peer("10.0.0.1"));
        assert_ne!(peer("10.0.0.1"), peer("10.0.0.2"));
    }
}
