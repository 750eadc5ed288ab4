//! The network of one subscriber.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the network that a bound for each client's address counts: the IPv4 address, or the first half of the IPv6
/// address, of which a single client has all the others.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            IpAddr::V6(Ipv6Addr::from_bits(network))
        }
        address => address,
    }
}
