//! Bounds on the number of open connections, and of sessions that need none.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::model::network::network;

/// The places for connections or sessions, in all and for each address.
#[derive(Debug)]
pub(crate) struct Places {
    most: usize,
    most_per_address: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_address: HashMap<IpAddr, usize>,
}

/// The place of one connection or session: free again when it is dropped.
pub(crate) struct Place {
    places: Arc<Places>,
    /// The network that it counts for; `None` if it counts in all only.
    address: Option<IpAddr>,
}

/// The bound that leaves no place for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    InAll,
    OfAddress,
}

impl Places {
    pub(crate) fn new(most: usize, most_per_address: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            most_per_address,
            taken: Mutex::default(),
        })
    }

    /// Takes a place that counts for an address, if one is given.
    pub(crate) fn take(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Place, Full> {
        let address = address.map(network);
        let mut taken = self.taken.lock();
        if taken.all >= self.most {
            return Err(Full::InAll);
        }
        if let Some(address) = address {
            let of_address = taken.by_address.entry(address).or_default();
            if *of_address >= self.most_per_address {
                return Err(Full::OfAddress);
            }
            *of_address += 1;
        }
        taken.all += 1;
        drop(taken);
        Ok(Place {
            places: Arc::clone(self),
            address,
        })
    }
}

impl Place {
    /// Counts in all only, from now on.
    pub(crate) fn leave_address(&mut self) {
        let Some(address) = self.address.take() else {
            return;
        };
        let mut taken = self.places.taken.lock();
        if let Some(of_address) = taken.by_address.get_mut(&address) {
            *of_address -= 1;
            if *of_address == 0 {
                taken.by_address.remove(&address);
            }
        }
        if taken.by_address.len() < taken.by_address.capacity() / 4 {
            taken.by_address.shrink_to_fit();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.leave_address();
        self.places.taken.lock().all -= 1;
    }
}

impl fmt::Debug for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Place").field(&self.address).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::endpoint::proxies::Proxies;

    #[test]
    fn places_are_counted_in_all_and_by_subscriber() {
        let proxies = Proxies::new(["10.0.0.1".into()].into_iter());
        let places = Places::new(5, 2);
        let take = |remote: &str| places.take(proxies.counted(remote.parse().unwrap()));

        let first = take("1.2.3.4:1").unwrap();
        let _second = take("[::ffff:1.2.3.4]:2").unwrap();
        assert_eq!(take("1.2.3.4:3").unwrap_err(), Full::OfAddress);
        drop(first);
        let _third = take("1.2.3.4:3").unwrap();
        assert_eq!(take("1.2.3.4:4").unwrap_err(), Full::OfAddress);

        let proxied: Vec<_> = (0..3).map(|_| take("10.0.0.1:1").unwrap()).collect();
        assert_eq!(take("10.0.0.1:1").unwrap_err(), Full::InAll);
        assert_eq!(take("5.6.7.8:1").unwrap_err(), Full::InAll);
        drop(proxied);

        let _six = take("[2001:db8::1]:1").unwrap();
        let _seven = take("[2001:db8::2]:1").unwrap();
        assert_eq!(take("[2001:db8::3]:1").unwrap_err(), Full::OfAddress);
        drop(take("[2001:db8:0:1::3]:1").unwrap());
        assert_eq!(places.taken.lock().by_address.len(), 2);
    }
}
