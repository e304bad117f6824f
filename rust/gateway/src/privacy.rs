//! How is a peer address anonymised before anything is stored or logged?
//!
//! The raw address lives from `accept` to the call of [`AddressPrivacy::source`] and nowhere else.
//! None of the modes makes an address anonymous while the row carries a serial number: this is
//! minimisation (GDPR article 5(1)(c)), not anonymisation.

use std::net::{IpAddr, Ipv6Addr};

use hkdf::Hkdf;
use ipcrypt_rs::{Ipcrypt, IpcryptPfx};
use sha2::Sha256;

/// Bytes of the key that an encrypting mode needs.
pub const KEY_BYTES: usize = 32;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressMode {
    /// The /24 (IPv4) or /48 (IPv6) network; no key.
    Truncate,
    /// `ipcrypt-deterministic` of draft-denis-ipcrypt: one address, one pseudonym.
    Deterministic,
    /// `ipcrypt-pfx`: as above, and addresses of one network keep a common prefix.
    PrefixPreserving,
    /// Nothing is kept.
    None,
}

impl AddressMode {
    pub const NAMES: [(&'static str, Self); 4] = [
        ("truncate", Self::Truncate),
        ("ipcrypt-deterministic", Self::Deterministic),
        ("ipcrypt-pfx", Self::PrefixPreserving),
        ("none", Self::None),
    ];

    pub fn named(name: &str) -> Result<Self, PrivacyError> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, mode)| *mode)
            .ok_or_else(|| PrivacyError::UnknownMode(name.to_owned()))
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PrivacyError {
    #[error(
        "unknown address mode {0:?}, wanted truncate, ipcrypt-deterministic, ipcrypt-pfx or none"
    )]
    UnknownMode(String),
    #[error("address key of {0} bytes, wanted {KEY_BYTES}")]
    KeyLength(usize),
    /// Equal halves would cancel out in the XOR of the prefix-preserving construction.
    #[error("address key whose two halves are equal")]
    KeyHalves,
}

/// A mode with its key schedule.
pub enum AddressPrivacy {
    Truncate,
    Deterministic(Box<Ipcrypt>),
    PrefixPreserving(Box<IpcryptPfx>),
    None,
}

impl std::fmt::Debug for AddressPrivacy {
    // The key schedule must not reach a log line.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Truncate => "AddressPrivacy::Truncate",
            Self::Deterministic(_) => "AddressPrivacy::Deterministic",
            Self::PrefixPreserving(_) => "AddressPrivacy::PrefixPreserving",
            Self::None => "AddressPrivacy::None",
        })
    }
}

impl AddressPrivacy {
    /// Derives the mode's key from a master of [`KEY_BYTES`] by HKDF-SHA-256 (RFC 5869, empty salt)
    /// with the mode's name as info, so that one key file serves every mode without sharing a key.
    pub fn new(mode: AddressMode, master: &[u8]) -> Result<Self, PrivacyError> {
        match mode {
            AddressMode::Truncate => Ok(Self::Truncate),
            AddressMode::None => Ok(Self::None),
            AddressMode::Deterministic => Ok(Self::deterministic(derive(
                master,
                b"ipcrypt-deterministic",
            )?)),
            AddressMode::PrefixPreserving => {
                Self::prefix_preserving(derive(master, b"ipcrypt-pfx")?)
            }
        }
    }

    pub fn deterministic(key: [u8; 16]) -> Self {
        Self::Deterministic(Box::new(Ipcrypt::new(key)))
    }

    pub fn prefix_preserving(key: [u8; 32]) -> Result<Self, PrivacyError> {
        if key[..16] == key[16..] {
            return Err(PrivacyError::KeyHalves);
        }
        Ok(Self::PrefixPreserving(Box::new(IpcryptPfx::new(key))))
    }

    /// The text that stands for `address` in every file and log line; `None` keeps nothing.
    pub fn source(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        match self {
            Self::None => None,
            Self::Truncate => Some(network(address)),
            Self::Deterministic(cipher) => Some(cipher.encrypt_ipaddr(address).to_string()),
            Self::PrefixPreserving(cipher) => Some(cipher.encrypt_ipaddr(address).to_string()),
        }
    }
}

fn derive<const N: usize>(master: &[u8], info: &[u8]) -> Result<[u8; N], PrivacyError> {
    if master.len() != KEY_BYTES {
        return Err(PrivacyError::KeyLength(master.len()));
    }
    let mut key = [0; N];
    Hkdf::<Sha256>::new(None, master)
        .expand(info, &mut key)
        .expect("HKDF-SHA-256 gives up to 8160 bytes, 32 are wanted");
    Ok(key)
}

fn network(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, _] = v4.octets();
            format!("{a}.{b}.{c}.0/24")
        }
        IpAddr::V6(v6) => {
            let [a, b, c, ..] = v6.segments();
            format!("{}/48", Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn master() -> Vec<u8> {
        (0..32).collect()
    }

    fn source(privacy: &AddressPrivacy, address: &str) -> String {
        privacy.source(address.parse().unwrap()).unwrap()
    }

    #[test]
    fn truncation_keeps_the_network_only() {
        let privacy = AddressPrivacy::new(AddressMode::Truncate, b"").unwrap();
        assert_eq!(source(&privacy, "203.0.113.77"), "203.0.113.0/24");
        assert_eq!(source(&privacy, "::ffff:203.0.113.77"), "203.0.113.0/24");
        assert_eq!(source(&privacy, "2001:db8:1:2:3:4:5:6"), "2001:db8:1::/48");
    }

    #[test]
    fn none_keeps_nothing() {
        let privacy = AddressPrivacy::new(AddressMode::None, b"").unwrap();
        assert_eq!(privacy.source("203.0.113.77".parse().unwrap()), None);
    }

    // Values of an independent HKDF and ipcrypt computation with the master 00..1f.
    #[test]
    fn keys_are_derived_per_mode() {
        let deterministic = AddressPrivacy::new(AddressMode::Deterministic, &master()).unwrap();
        assert_eq!(
            source(&deterministic, "203.0.113.77"),
            "1dc1:d85b:4f5d:15:a669:a970:7e5a:19c3"
        );
        assert_eq!(
            source(&deterministic, "2001:db8:1:2::3"),
            "d47e:ef24:9439:3f57:34c3:2b43:1901:ac48"
        );
        let pfx = AddressPrivacy::new(AddressMode::PrefixPreserving, &master()).unwrap();
        assert_eq!(source(&pfx, "203.0.113.77"), "96.236.91.244");
        assert_eq!(source(&pfx, "203.0.113.200"), "96.236.91.37");
    }

    #[test]
    fn mapped_and_plain_spelling_give_one_pseudonym() {
        for mode in [AddressMode::Deterministic, AddressMode::PrefixPreserving] {
            let privacy = AddressPrivacy::new(mode, &master()).unwrap();
            assert_eq!(
                source(&privacy, "::ffff:192.0.2.1"),
                source(&privacy, "192.0.2.1")
            );
        }
    }

    #[test]
    fn a_wrong_key_is_refused() {
        assert!(matches!(
            AddressPrivacy::new(AddressMode::Deterministic, b"short"),
            Err(PrivacyError::KeyLength(5))
        ));
        assert!(matches!(
            AddressPrivacy::prefix_preserving([7; 32]),
            Err(PrivacyError::KeyHalves)
        ));
        assert!(AddressMode::named("raw").is_err());
    }

    #[test]
    fn the_key_does_not_show_in_debug_output() {
        let privacy = AddressPrivacy::new(AddressMode::Deterministic, &master()).unwrap();
        assert_eq!(format!("{privacy:?}"), "AddressPrivacy::Deterministic");
    }
}
