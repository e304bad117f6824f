//! Short ASCII texts without an allocation: serial numbers and fault words.

use std::fmt;

/// At most `N` printable ASCII characters.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Text<const N: usize> {
    bytes: [u8; N],
    length: u8,
}

impl<const N: usize> Text<N> {
    /// A padded text from the wire: trailing spaces and NULs are padding. `None` when something
    /// that is no printable ASCII character remains, when nothing remains, or when it is too long.
    pub fn from_padded(raw: &[u8]) -> Option<Self> {
        let end = raw.iter().rposition(|&byte| byte != b' ' && byte != 0)? + 1;
        let text = &raw[..end];
        if text.len() > N || !text.iter().all(u8::is_ascii_graphic) {
            return None;
        }
        let mut bytes = [0; N];
        bytes[..end].copy_from_slice(text);
        Some(Self {
            bytes,
            length: u8::try_from(end).ok()?,
        })
    }

    /// Lower-case hexadecimal digits; `None` when they do not fit.
    pub fn hex(raw: &[u8]) -> Option<Self> {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        if raw.len() * 2 > N {
            return None;
        }
        let mut bytes = [0; N];
        for (pair, &byte) in bytes.chunks_exact_mut(2).zip(raw) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        Some(Self {
            bytes,
            length: u8::try_from(raw.len() * 2).ok()?,
        })
    }

    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..usize::from(self.length)]).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn padding_is_cut_and_rubbish_refused() {
        assert_eq!(Text::<16>::from_padded(b"143E48 ").map(|_| ()), Some(()));
        assert_eq!(
            Text::<16>::from_padded(b"AB12\0\0 ").unwrap().as_str(),
            "AB12"
        );
        assert!(Text::<16>::from_padded(b"    ").is_none());
        assert!(Text::<16>::from_padded(b"A\x07B").is_none());
        assert!(Text::<4>::from_padded(b"ABCDE").is_none());
        assert_eq!(Text::<24>::hex(&[0, 0xAB]).unwrap().as_str(), "00ab");
    }
}
