//! Which loggers may send, and who else has tried?
//!
//! A serial number is all a stick has to show. `open` takes everybody and tells claimed loggers from
//! unclaimed ones; `known` answers only those that the registry lists. Whoever is refused is counted
//! by serial number and nothing else: no address, no connection.

use std::collections::{HashMap, HashSet};

/// Serial numbers whose refusals are told apart; the rest is only counted in total. A forgotten
/// district fits, a flood of invented numbers does not cost more than a megabyte.
const REFUSED_MAX: usize = 10_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Policy {
    /// Everybody may send.
    Open,
    /// Only listed loggers may send.
    Known,
}

/// How often and when a logger was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    pub frames: u64,
    pub first_unix_us: i64,
    pub last_unix_us: i64,
}

#[derive(Debug)]
pub struct Registry {
    policy: Policy,
    /// `None` while there is no list.
    listed: Option<HashSet<u32>>,
    refused: HashMap<u32, Refused>,
}

impl Registry {
    pub fn new(policy: Policy) -> Self {
        Self {
            policy,
            listed: None,
            refused: HashMap::new(),
        }
    }

    /// Takes over a new list; connections stay, their next frames meet it.
    pub fn replace(&mut self, listed: Option<HashSet<u32>>) {
        if let Some(listed) = &listed {
            self.refused
                .retain(|logger_sn, _| !listed.contains(logger_sn));
        }
        self.listed = listed;
    }

    pub fn len(&self) -> usize {
        self.listed.as_ref().map_or(0, HashSet::len)
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the logger is listed; `None` when nothing is known about anybody.
    pub fn claimed(&self, logger_sn: u32) -> Option<bool> {
        self.listed
            .as_ref()
            .map(|listed| listed.contains(&logger_sn))
    }

    /// Whether a frame of this logger is taken; if not, the refusal is counted.
    pub fn admits(&mut self, logger_sn: u32, unix_us: i64) -> bool {
        if self.policy == Policy::Open || self.claimed(logger_sn) == Some(true) {
            return true;
        }
        if self.refused.len() < REFUSED_MAX || self.refused.contains_key(&logger_sn) {
            let refused = self.refused.entry(logger_sn).or_insert(Refused {
                frames: 0,
                first_unix_us: unix_us,
                last_unix_us: unix_us,
            });
            refused.frames += 1;
            refused.last_unix_us = unix_us;
        }
        false
    }

    /// Forgets who was refused, where `is_forgotten` says so.
    pub fn forget_refused(&mut self, is_forgotten: impl Fn(u32) -> bool) {
        self.refused
            .retain(|&logger_sn, _| !is_forgotten(logger_sn));
    }

    /// The loggers refused since start or since they were last listed, by serial number.
    pub fn refused(&self) -> Vec<(u32, Refused)> {
        let mut refused: Vec<_> = self
            .refused
            .iter()
            .map(|(&logger_sn, &refused)| (logger_sn, refused))
            .collect();
        refused.sort_unstable_by_key(|(logger_sn, _)| *logger_sn);
        refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(loggers: &[u32]) -> Option<HashSet<u32>> {
        Some(loggers.iter().copied().collect())
    }

    #[test]
    fn open_takes_everybody_and_knows_who_is_claimed() {
        let mut registry = Registry::new(Policy::Open);
        assert!(registry.admits(7, 0));
        assert_eq!(registry.claimed(7), None);
        registry.replace(listed(&[7]));
        assert!(registry.admits(8, 0));
        assert_eq!(registry.claimed(7), Some(true));
        assert_eq!(registry.claimed(8), Some(false));
        assert!(registry.refused().is_empty());
    }

    #[test]
    fn known_takes_listed_loggers_only_and_counts_the_rest() {
        let mut registry = Registry::new(Policy::Known);
        assert!(!registry.admits(7, 10), "no list: nobody is known");
        registry.replace(listed(&[7]));
        assert!(registry.admits(7, 20));
        assert!(!registry.admits(8, 30));
        assert!(!registry.admits(8, 40));
        assert_eq!(
            registry.refused(),
            [(
                8,
                Refused {
                    frames: 2,
                    first_unix_us: 30,
                    last_unix_us: 40
                }
            )]
        );
        registry.replace(listed(&[7, 8]));
        assert!(registry.admits(8, 50));
        assert!(registry.refused().is_empty(), "claimed meanwhile");
    }

    #[test]
    fn invented_serial_numbers_do_not_fill_the_memory() {
        let mut registry = Registry::new(Policy::Known);
        for logger_sn in 0..REFUSED_MAX as u32 * 2 {
            registry.admits(logger_sn, 0);
        }
        assert_eq!(registry.refused().len(), REFUSED_MAX);
    }
}
