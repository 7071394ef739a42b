//! How often the refusal of somebody who is nobody's member enters the log: a stranger may knock as often as he likes, and shall not
//! fill the disk with it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Refusals of one address that are recorded at once: a node that starts with a wrong file tries a few times.
const BURST: u32 = 10;

/// After this long one more is recorded: 1440 a day, which with their checkpoints are a megabyte or two.
const REFILL: Duration = Duration::from_secs(60);

/// The same for all addresses together, as one who has many is one stranger all the same.
const BURST_OF_ALL: u32 = 100;
const REFILL_OF_ALL: Duration = Duration::from_secs(6);

/// How many addresses are told apart. When there are more, those that have been quiet are forgotten; if none was, newcomers share what all
/// have.
const MAX_ADDRESSES: usize = 4096;

/// Decides which refusals of strangers are recorded, and counts the others.
#[derive(Debug)]
pub struct StrangerLimit {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    addresses: BTreeMap<IpAddr, Bucket>,
    all: Bucket,
    left_out: u64,
}

impl StrangerLimit {
    /// Nobody has knocked yet.
    pub fn new(now: Instant) -> Self {
        Self {
            inner: Mutex::new(Inner {
                addresses: BTreeMap::new(),
                all: Bucket::full(BURST_OF_ALL, now),
                left_out: 0,
            }),
        }
    }

    /// For a refusal that is to be recorded, how many were left out since the last that was: that is recorded with it. A counter tells of each
    /// that is left out.
    pub fn recorded(&self, address: IpAddr, now: Instant) -> Option<u64> {
        let recorded = self.record(address, now);
        if recorded.is_none() {
            metrics::counter!("consort_stranger_refusals_left_out_total").increment(1);
        }
        recorded
    }

    fn record(&self, address: IpAddr, now: Instant) -> Option<u64> {
        // Nothing panics between two changes under the lock.
        let mut inner = self.inner.lock().unwrap_or_else(PoisonError::into_inner);
        let recorded = inner.take(network(address), now);
        if recorded {
            return Some(std::mem::take(&mut inner.left_out));
        }
        inner.left_out = inner.left_out.saturating_add(1);
        None
    }
}

impl Inner {
    fn take(&mut self, address: IpAddr, now: Instant) -> bool {
        if !self.addresses.contains_key(&address) && self.addresses.len() >= MAX_ADDRESSES {
            self.addresses.retain(|_, bucket| !bucket.is_full(now));
        }
        if self.addresses.len() < MAX_ADDRESSES || self.addresses.contains_key(&address) {
            let bucket = self.addresses.entry(address);
            let bucket = bucket.or_insert_with(|| Bucket::full(BURST, now));
            if !bucket.take(BURST, REFILL, now) {
                return false;
            }
        }
        self.all.take(BURST_OF_ALL, REFILL_OF_ALL, now)
    }
}

/// A token bucket.
#[derive(Debug)]
struct Bucket {
    tokens: u32,
    /// When the last token came.
    filled: Instant,
}

impl Bucket {
    fn full(tokens: u32, now: Instant) -> Self {
        Self {
            tokens,
            filled: now,
        }
    }

    fn take(&mut self, burst: u32, refill: Duration, now: Instant) -> bool {
        while self.tokens < burst && now.saturating_duration_since(self.filled) >= refill {
            self.tokens += 1;
            self.filled += refill;
        }
        if self.tokens == burst {
            self.filled = now;
        }
        let taken = self.tokens.checked_sub(1);
        self.tokens = taken.unwrap_or_default();
        taken.is_some()
    }

    fn is_full(&self, now: Instant) -> bool {
        let missing = BURST.saturating_sub(self.tokens);
        now.saturating_duration_since(self.filled) >= REFILL * missing
    }
}

/// Whom an address stands for: a host has 64 bits of IPv6 to itself.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & (u128::MAX << 64);
            IpAddr::V6(Ipv6Addr::from_bits(prefix))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(last: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, last])
    }

    #[test]
    fn a_stranger_who_goes_on_is_recorded_ten_times_and_then_once_a_minute_with_the_count_of_the_rest()
     {
        let start = Instant::now();
        let limit = StrangerLimit::new(start);
        let recorded =
            |seconds: u64| limit.record(address(1), start + Duration::from_secs(seconds));
        let first: Vec<_> = (0..1000).map(|_| recorded(0)).collect();
        assert_eq!(first.iter().filter(|it| it.is_some()).count(), 10);
        assert_eq!(recorded(59), None);
        assert_eq!(recorded(60), Some(991));
        assert_eq!(recorded(60), None);
        assert_eq!(recorded(3600), Some(1));
        let again = (0..1000).filter(|_| recorded(3600).is_some());
        assert_eq!(again.count(), 9);
    }

    #[test]
    fn one_stranger_does_not_hide_another() {
        let start = Instant::now();
        let limit = StrangerLimit::new(start);
        for _ in 0..1000 {
            limit.record(address(1), start);
        }
        assert_eq!(limit.record(address(2), start), Some(990));
    }

    #[test]
    fn many_addresses_together_are_recorded_a_hundred_times() {
        let start = Instant::now();
        let limit = StrangerLimit::new(start);
        let recorded = (0..=255_u8)
            .flat_map(|last| (0..10).map(move |_| last))
            .filter(|last| limit.record(address(*last), start).is_some());
        assert_eq!(recorded.count(), 100);
    }

    #[test]
    fn addresses_of_one_host_are_one_and_more_than_are_told_apart_take_no_more_memory() {
        let start = Instant::now();
        let limit = StrangerLimit::new(start);
        let host = |low: u128| IpAddr::V6(Ipv6Addr::from_bits((0x2001_0db8 << 96) | low));
        let recorded = (0..1000).filter(|low| limit.record(host(*low), start).is_some());
        assert_eq!(recorded.count(), 10);
        for prefix in 0..10_000_u128 {
            limit.record(host(prefix << 64), start);
        }
        assert_eq!(limit.inner.lock().unwrap().addresses.len(), MAX_ADDRESSES);
        // Those who were quiet for long enough make room.
        let later = start + 2 * REFILL;
        limit.record(address(1), later);
        assert!(limit.inner.lock().unwrap().addresses.len() < 10);
    }
}
