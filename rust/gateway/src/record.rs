//! What does one journal record hold? The body that the journal guards with length and checksum.

use crate::batch::SessionRow;

const DATA_RECORD: u8 = 1;
const SESSION_RECORD: u8 = 2;

/// Adds the body of a data record: kind, receive time, length of the source, source, frame.
pub(crate) fn write_data(
    body: &mut Vec<u8>,
    frame: &[u8],
    source: Option<&str>,
    received_at_us: i64,
) {
    let source = source.unwrap_or_default();
    body.push(DATA_RECORD);
    body.extend_from_slice(&received_at_us.to_le_bytes());
    body.push(u8::try_from(source.len()).expect("an address is at most 43 characters"));
    body.extend_from_slice(source.as_bytes());
    body.extend_from_slice(frame);
}

/// Body of a session record: kind, then the row as JSON.
pub(crate) fn session_record(row: &SessionRow) -> Vec<u8> {
    let mut body = vec![SESSION_RECORD];
    serde_json::to_writer(&mut body, row).expect("a row of numbers and texts is JSON");
    body
}

/// A record read back.
pub(crate) enum Record<'a> {
    Data {
        frame: &'a [u8],
        source: Option<&'a str>,
        received_at_us: i64,
    },
    Session(Box<SessionRow>),
}

impl<'a> Record<'a> {
    /// `None`: a kind that this version does not know, or a body that does not fit its kind.
    pub(crate) fn parse(body: &'a [u8]) -> Option<Self> {
        match body.split_first()? {
            (&SESSION_RECORD, rest) => serde_json::from_slice(rest)
                .ok()
                .map(|row| Self::Session(Box::new(row))),
            _ => Self::parse_data(body),
        }
    }

    /// As [`Record::parse`], of data records alone.
    pub(crate) fn parse_data(body: &'a [u8]) -> Option<Self> {
        let (_, rest) = body
            .split_first()
            .filter(|(kind, _)| **kind == DATA_RECORD)?;
        let (time, rest) = rest.split_first_chunk::<8>()?;
        let (&source_bytes, rest) = rest.split_first()?;
        let (source, frame) = rest.split_at_checked(usize::from(source_bytes))?;
        let source = std::str::from_utf8(source).ok()?;
        Some(Self::Data {
            frame,
            source: Some(source).filter(|source| !source.is_empty()),
            received_at_us: i64::from_le_bytes(*time),
        })
    }

    pub(crate) fn received_at_us(&self) -> i64 {
        match self {
            Self::Data { received_at_us, .. } => *received_at_us,
            Self::Session(row) => row.at_us,
        }
    }
}
