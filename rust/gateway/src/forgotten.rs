//! Of which loggers and inverters must nothing be kept any more?
//!
//! The list holds keyed digests, so that the serial numbers of people who wanted to be forgotten
//! stand nowhere: the first bytes of HMAC-SHA-256 over `logger:<decimal>` or `inverter:<text>`.
//! `autarco_ingest.forgotten` writes it and computes the same.

use std::collections::HashSet;
use std::fmt;

use autarco_protocol::frame::Frame;
use autarco_protocol::reading;
use hkdf::hmac::{Hmac, Mac};
use sha2::Sha256;

/// Bytes of the key.
pub const KEY_BYTES: usize = 32;
/// Bytes of a digest that are kept.
pub const DIGEST_BYTES: usize = 16;

pub type Digest = [u8; DIGEST_BYTES];

#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum ForgottenError {
    #[error("key of forgotten serials of {0} bytes, wanted {KEY_BYTES}")]
    KeyLength(usize),
    #[error("digest of {0} bytes, wanted {DIGEST_BYTES}")]
    DigestLength(usize),
}

/// The list; by default nobody is forgotten.
#[derive(Clone, Default)]
pub struct Forgotten {
    /// Prepared with the key; `None` while the list is empty.
    mac: Option<Hmac<Sha256>>,
    digests: HashSet<Digest>,
}

impl fmt::Debug for Forgotten {
    // The key must not reach a log line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Forgotten({} digests)", self.digests.len())
    }
}

impl Forgotten {
    /// An empty list needs no key.
    pub fn new(key: &[u8], digests: HashSet<Digest>) -> Result<Self, ForgottenError> {
        if digests.is_empty() {
            return Ok(Self::default());
        }
        if key.len() != KEY_BYTES {
            return Err(ForgottenError::KeyLength(key.len()));
        }
        let mac = Hmac::new_from_slice(key).expect("HMAC takes keys of any length");
        Ok(Self {
            mac: Some(mac),
            digests,
        })
    }

    pub fn is_empty(&self) -> bool {
        self.digests.is_empty()
    }

    pub fn has_logger(&self, logger_sn: u32) -> bool {
        self.mac.is_some() && self.has("logger:", &logger_sn.to_string())
    }

    /// Whether the frame carries measurements of a forgotten inverter, whatever its logger.
    pub fn has_inverter_of(&self, frame: &Frame<'_>) -> bool {
        self.mac.is_some()
            && reading::inverter_serials(frame).any(|serial| self.has("inverter:", serial.as_str()))
    }

    fn has(&self, kind: &str, serial: &str) -> bool {
        let Some(mut mac) = self.mac.clone() else {
            return false;
        };
        mac.update(kind.as_bytes());
        mac.update(serial.as_bytes());
        let code = mac.finalize().into_bytes();
        self.digests.contains(&code[..DIGEST_BYTES])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Computed with Python's `hmac` from the key 00 01 … 1f.
    const LOGGER_4012345678: Digest = hex("a67e0d6cc6de6e3429cdfc63e3f7c681");
    const INVERTER_TEST0001: Digest = hex("cda038f6c8cbb8d6db5dddcb512b4637");

    const fn hex(digits: &str) -> Digest {
        const fn value(digit: u8) -> u8 {
            if digit <= b'9' {
                digit - b'0'
            } else {
                digit - b'a' + 10
            }
        }
        let digits = digits.as_bytes();
        let mut bytes = [0; DIGEST_BYTES];
        let mut at = 0;
        while at < DIGEST_BYTES {
            bytes[at] = value(digits[2 * at]) << 4 | value(digits[2 * at + 1]);
            at += 1;
        }
        bytes
    }

    fn list(digests: &[Digest]) -> Forgotten {
        let key: Vec<u8> = (0..32).collect();
        Forgotten::new(&key, digests.iter().copied().collect()).unwrap()
    }

    #[test]
    fn digests_are_those_that_python_computes() {
        let forgotten = list(&[LOGGER_4012345678, INVERTER_TEST0001]);
        assert!(forgotten.has_logger(4_012_345_678));
        assert!(!forgotten.has_logger(4_012_345_679));
        assert!(forgotten.has("inverter:", "TEST0001"));
        assert!(!forgotten.has("logger:", "TEST0001"));
    }

    #[test]
    fn an_empty_list_forgets_nobody_and_needs_no_key() {
        let forgotten = Forgotten::new(&[], HashSet::new()).unwrap();
        assert!(!forgotten.has_logger(4_012_345_678));
    }

    #[test]
    fn a_list_without_its_key_is_refused() {
        let digests = HashSet::from([LOGGER_4012345678]);
        assert_eq!(
            Forgotten::new(&[1; 31], digests).unwrap_err(),
            ForgottenError::KeyLength(31)
        );
    }

    #[test]
    fn neither_key_nor_digests_are_shown() {
        assert_eq!(format!("{:?}", list(&[[7; 16]])), "Forgotten(1 digests)");
    }
}
