//! How much may one network address, and one logger, take of the server?
//!
//! V5 and V4 know no authentication: anybody can connect and claim any serial number. So what a
//! single peer can use up is bounded here, in a way that costs a real stick nothing: a rate that is
//! used up means that reading waits (TCP holds the rest, nothing is dropped), a number that is used
//! up means that a connection is closed (sticks come back by themselves).
//!
//! Addresses are kept as keyed hashes: the map never holds one in the clear.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;

use smallvec::SmallVec;

const MINUTE_US: i64 = 60_000_000;
/// Loggers whose rate is remembered at once, about 60 bytes each. Beyond it, new ones are bounded by
/// their address alone: the serial numbers of a flood are invented and never come twice.
const LOGGERS_MAX: usize = 1_000_000;

/// So many a minute, a whole minute's worth at once.
///
/// Kept as the one instant at which the bucket is full again (generic cell rate algorithm, ITU-T
/// I.371), so that it costs eight bytes and an idle one needs no upkeep.
#[derive(Debug, Clone, Copy)]
struct Rate {
    full_at_us: i64,
}

impl Rate {
    const IDLE: Self = Self {
        full_at_us: i64::MIN,
    };

    /// Takes so many, whether or not they are there: what has been read is not dropped.
    fn take(&mut self, count: u32, per_minute: u32, now_us: i64) {
        let cost_us = MINUTE_US * i64::from(count) / i64::from(per_minute.max(1));
        let full_at_us = self.full_at_us.max(now_us).saturating_add(cost_us);
        // What was read on top is no debt without end: after a minute there is room again.
        self.full_at_us = full_at_us.min(now_us.saturating_add(2 * MINUTE_US));
    }

    fn is_used_up(self, now_us: i64) -> bool {
        self.full_at_us.saturating_sub(now_us) > MINUTE_US
    }

    fn is_full(self, now_us: i64) -> bool {
        self.full_at_us <= now_us
    }
}

/// Stands for a network address while its connections are open: an IPv4 address, or the /64 that an
/// IPv6 household gets as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct AddressKey(u64);

#[derive(Debug)]
struct Address {
    connections: u32,
    connects: Rate,
    frames: Rate,
}

/// Why an address may not connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooMany,
    TooOften,
}

/// What each address has taken.
#[derive(Debug)]
pub(crate) struct Addresses {
    hasher: RandomState,
    known: HashMap<AddressKey, Address, ahash::RandomState>,
    pub(crate) connections_max: u32,
    pub(crate) connects_per_minute: u32,
    pub(crate) frames_per_minute: u32,
}

impl Addresses {
    pub(crate) fn new(
        connections_max: u32,
        connects_per_minute: u32,
        frames_per_minute: u32,
    ) -> Self {
        Self {
            hasher: RandomState::new(),
            known: HashMap::default(),
            connections_max,
            connects_per_minute,
            frames_per_minute,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    fn key(&self, address: IpAddr) -> AddressKey {
        AddressKey(match address.to_canonical() {
            IpAddr::V4(v4) => self.hasher.hash_one(v4.octets()),
            IpAddr::V6(v6) => self.hasher.hash_one(&v6.segments()[..4]),
        })
    }

    /// Counts a connection in, or says why not. An attempt that was refused counts as one too.
    pub(crate) fn enter(&mut self, address: IpAddr, now_us: i64) -> Result<AddressKey, Refusal> {
        let key = self.key(address);
        let known = self.known.entry(key).or_insert(Address {
            connections: 0,
            connects: Rate::IDLE,
            frames: Rate::IDLE,
        });
        if known.connects.is_used_up(now_us) {
            return Err(Refusal::TooOften);
        }
        known.connects.take(1, self.connects_per_minute, now_us);
        if known.connections >= self.connections_max {
            return Err(Refusal::TooMany);
        }
        known.connections += 1;
        Ok(key)
    }

    pub(crate) fn leave(&mut self, key: AddressKey) {
        if let Some(known) = self.known.get_mut(&key) {
            known.connections -= 1;
        }
    }

    /// Counts frames that an address has sent.
    pub(crate) fn take_frames(&mut self, key: AddressKey, frames: u32, now_us: i64) {
        if let Some(known) = self.known.get_mut(&key) {
            known.frames.take(frames, self.frames_per_minute, now_us);
        }
    }

    pub(crate) fn is_used_up(&self, key: AddressKey, now_us: i64) -> bool {
        self.known
            .get(&key)
            .is_some_and(|known| known.frames.is_used_up(now_us))
    }

    /// Forgets addresses that hold nothing and owe nothing.
    pub(crate) fn forget_idle(&mut self, now_us: i64) {
        self.known.retain(|_, known| {
            known.connections > 0
                || !known.connects.is_full(now_us)
                || !known.frames.is_full(now_us)
        });
    }
}

/// A serial number as it is claimed from one address.
pub(crate) type LoggerKey = (u32, AddressKey);

#[derive(Debug)]
struct Logger {
    frames: Rate,
    /// Slots of the connections that speak for this logger from this address, oldest first.
    connections: SmallVec<[u32; 4]>,
}

/// What each logger has taken, from each address: whoever claims its serial number elsewhere can
/// neither use up its rate nor push its connections out.
#[derive(Debug)]
pub(crate) struct Loggers {
    known: HashMap<LoggerKey, Logger, ahash::RandomState>,
    pub(crate) connections_max: usize,
    pub(crate) frames_per_minute: u32,
}

impl Loggers {
    pub(crate) fn new(connections_max: usize, frames_per_minute: u32) -> Self {
        Self {
            known: HashMap::default(),
            connections_max: connections_max.max(1),
            frames_per_minute,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.known.len()
    }

    /// Counts a frame.
    pub(crate) fn take_frame(&mut self, logger: LoggerKey, now_us: i64) {
        let per_minute = self.frames_per_minute;
        if let Some(known) = self.entry(logger) {
            known.frames.take(1, per_minute, now_us);
        }
    }

    pub(crate) fn is_used_up(&self, logger: LoggerKey, now_us: i64) -> bool {
        self.known
            .get(&logger)
            .is_some_and(|known| known.frames.is_used_up(now_us))
    }

    /// A connection begins to speak for a logger. Returns the slot of the connection that has to go
    /// because the logger has too many: after a NAT time-out a stick holds two, never more.
    pub(crate) fn join(&mut self, logger: LoggerKey, slot: usize) -> Option<usize> {
        let connections_max = self.connections_max;
        let slot = u32::try_from(slot).expect("fewer connections than descriptors");
        let known = self.entry(logger)?;
        known.connections.push(slot);
        (known.connections.len() > connections_max).then(|| known.connections.remove(0) as usize)
    }

    pub(crate) fn leave(&mut self, logger: LoggerKey, slot: usize) {
        if let Some(known) = self.known.get_mut(&logger) {
            known
                .connections
                .retain(|&mut other| other as usize != slot);
        }
    }

    pub(crate) fn forget_idle(&mut self, now_us: i64) {
        self.known
            .retain(|_, known| !known.connections.is_empty() || !known.frames.is_full(now_us));
    }

    fn entry(&mut self, logger: LoggerKey) -> Option<&mut Logger> {
        let is_full = self.known.len() >= LOGGERS_MAX;
        if is_full && !self.known.contains_key(&logger) {
            return None;
        }
        Some(self.known.entry(logger).or_insert_with(|| Logger {
            frames: Rate::IDLE,
            connections: SmallVec::new(),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: AddressKey = AddressKey(1);
    const ELSEWHERE: AddressKey = AddressKey(2);

    fn addresses() -> Addresses {
        Addresses::new(2, 5, 60)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_minutes_worth_is_there_at_once_and_comes_back_evenly() {
        let mut rate = Rate::IDLE;
        for _ in 0..60 {
            assert!(!rate.is_used_up(0));
            rate.take(1, 60, 0);
        }
        rate.take(1, 60, 0);
        assert!(rate.is_used_up(0));
        assert!(rate.is_used_up(999_999));
        assert!(!rate.is_used_up(1_000_000));
        assert!(!rate.is_full(60_999_999));
        assert!(rate.is_full(61_000_000));
    }

    #[test]
    fn a_debt_ends_after_a_minute() {
        let mut rate = Rate::IDLE;
        rate.take(1_000_000, 60, 0);
        assert!(rate.is_used_up(MINUTE_US - 1));
        assert!(!rate.is_used_up(MINUTE_US));
    }

    #[test]
    fn who_claims_a_logger_elsewhere_takes_nothing_from_it() {
        let mut loggers = Loggers::new(2, 60);
        assert_eq!(loggers.join((7, HERE), 1), None);
        for slot in 2..10 {
            assert_ne!(loggers.join((7, ELSEWHERE), slot), Some(1));
            for _ in 0..1000 {
                loggers.take_frame((7, ELSEWHERE), 0);
            }
        }
        assert!(loggers.is_used_up((7, ELSEWHERE), 0));
        assert!(!loggers.is_used_up((7, HERE), 0));
    }

    #[test]
    fn an_address_holds_so_many_connections_and_gets_them_back() {
        let mut addresses = addresses();
        let first = addresses.enter(ip("192.0.2.1"), 0).unwrap();
        addresses.enter(ip("192.0.2.1"), 0).unwrap();
        assert_eq!(addresses.enter(ip("192.0.2.1"), 0), Err(Refusal::TooMany));
        assert!(addresses.enter(ip("192.0.2.2"), 0).is_ok());
        addresses.leave(first);
        assert!(addresses.enter(ip("::ffff:192.0.2.1"), 0).is_ok());
    }

    #[test]
    fn an_address_connects_so_often() {
        let mut addresses = addresses();
        for _ in 0..6 {
            let key = addresses.enter(ip("192.0.2.1"), 0).unwrap();
            addresses.leave(key);
        }
        assert_eq!(addresses.enter(ip("192.0.2.1"), 0), Err(Refusal::TooOften));
        assert!(addresses.enter(ip("192.0.2.1"), 12_000_001).is_ok());
    }

    #[test]
    fn an_ipv6_network_counts_as_one_address() {
        let mut addresses = addresses();
        let key = addresses.enter(ip("2001:db8::1"), 0).unwrap();
        assert_eq!(addresses.enter(ip("2001:db8::2"), 0), Ok(key));
        assert_ne!(addresses.enter(ip("2001:db8:0:1::1"), 0), Ok(key));
    }

    #[test]
    fn the_oldest_connection_of_a_logger_has_to_go() {
        let mut loggers = Loggers::new(2, 60);
        assert_eq!(loggers.join((7, HERE), 1), None);
        assert_eq!(loggers.join((7, HERE), 2), None);
        assert_eq!(loggers.join((8, HERE), 4), None);
        assert_eq!(loggers.join((7, HERE), 3), Some(1));
        loggers.leave((7, HERE), 2);
        assert_eq!(loggers.join((7, HERE), 5), None);
        assert_eq!(loggers.join((7, HERE), 6), Some(3));
    }

    #[test]
    fn what_is_idle_is_forgotten() {
        let mut addresses = addresses();
        let mut loggers = Loggers::new(2, 60);
        let key = addresses.enter(ip("192.0.2.1"), 0).unwrap();
        loggers.take_frame((7, HERE), 0);
        loggers.join((8, HERE), 1);
        addresses.forget_idle(MINUTE_US);
        loggers.forget_idle(MINUTE_US);
        assert_eq!((addresses.len(), loggers.len()), (1, 1));
        addresses.leave(key);
        loggers.leave((8, HERE), 1);
        addresses.forget_idle(MINUTE_US);
        loggers.forget_idle(MINUTE_US);
        assert_eq!((addresses.len(), loggers.len()), (0, 0));
    }

    #[test]
    fn loggers_beyond_the_bound_are_not_remembered() {
        let mut loggers = Loggers::new(2, 1);
        for logger_sn in 0..=LOGGERS_MAX as u32 {
            loggers.take_frame((logger_sn, HERE), 0);
        }
        assert_eq!(loggers.len(), LOGGERS_MAX);
        assert_eq!(loggers.join((u32::MAX, HERE), 1), None);
    }
}
