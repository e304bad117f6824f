//! What survives a power cut? Append-only segments of accepted frames.
//!
//! A segment is a pre-zeroed file `<number>.wal`: a header, then records back to back, then zeros.
//! [`Journal::append`] returns when its records are on disk (`fdatasync`); overwriting zeroed blocks
//! keeps that call free of metadata, which measured 1.5-2.5 times faster than a growing file.
//! After a restart nothing is ever appended to an old segment: a torn tail is simply not read.
//!
//! Record: `u32` body length, `u32` CRC32C of the body, body. A length of zero ends the segment.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"AUTJRNL1";
const HEADER_BYTES: usize = 16;
const RECORD_HEADER_BYTES: usize = 8;
/// A record holds one frame (at most 4,109 bytes) or one session event with its short texts; a
/// larger length can only be damage.
const RECORD_BODY_BYTES_MAX: usize = 16 * 1024;
const SPARE: &str = "spare";

/// Adds one record to a buffer that [`Journal::append`] will write.
pub fn push_record(buffer: &mut Vec<u8>, body: &[u8]) {
    debug_assert!((1..=RECORD_BODY_BYTES_MAX).contains(&body.len()));
    buffer.extend_from_slice(&(body.len() as u32).to_le_bytes());
    buffer.extend_from_slice(&crc32c::crc32c(body).to_le_bytes());
    buffer.extend_from_slice(body);
}

/// The records of a segment file's bytes, up to the first that is not whole.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    /// `segment` is the file's content. A header that is not ours (a segment that was never
    /// written to) gives no records.
    pub fn new(segment: &'a [u8], number: u64) -> Self {
        let rest = match segment.split_at_checked(HEADER_BYTES) {
            Some((header, rest))
                if header[..8] == MAGIC[..] && header[8..] == number.to_le_bytes() =>
            {
                rest
            }
            _ => &[],
        };
        Self { rest }
    }

    /// Bytes behind the last whole record that are not the zeros of a fresh segment: a torn tail.
    pub fn torn_bytes(&self) -> usize {
        self.rest
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1)
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (header, rest) = self.rest.split_at_checked(RECORD_HEADER_BYTES)?;
        let bytes = u32::from_le_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let crc = u32::from_le_bytes([header[4], header[5], header[6], header[7]]);
        if bytes == 0 || bytes > RECORD_BODY_BYTES_MAX {
            return None;
        }
        let (body, rest) = rest.split_at_checked(bytes)?;
        if crc32c::crc32c(body) != crc {
            return None;
        }
        self.rest = rest;
        Some(body)
    }
}

#[derive(Debug)]
struct Segment {
    number: u64,
    file: File,
    end: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sealed {
    number: u64,
    last_append_us: i64,
}

/// The segments of one directory; one process at a time (the caller holds the lock).
#[derive(Debug)]
pub struct Journal {
    directory: PathBuf,
    segment_bytes: usize,
    current: Option<Segment>,
    last_number: u64,
    last_append_us: i64,
    sealed: Vec<Sealed>,
}

impl Journal {
    /// Opens the directory, creating it if need be. New segments are numbered above every file found
    /// and above `committed`, the newest segment whose rows are in the table.
    pub fn open(directory: &Path, segment_bytes: usize, committed: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        let numbers = numbers(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            segment_bytes: segment_bytes.max(HEADER_BYTES + RECORD_BODY_BYTES_MAX),
            current: None,
            last_number: numbers.last().copied().unwrap_or(0).max(committed),
            last_append_us: i64::MIN,
            sealed: numbers
                .iter()
                .map(|&number| Sealed {
                    number,
                    last_append_us: i64::MAX,
                })
                .collect(),
        })
    }

    /// Every segment found at [`Journal::open`], oldest first: its number and content.
    pub fn recover(&self) -> impl Iterator<Item = io::Result<(u64, Vec<u8>)>> + '_ {
        self.sealed
            .iter()
            .map(|sealed| Ok((sealed.number, fs::read(self.path(sealed.number))?)))
    }

    /// Writes whole records and returns when they are durable. After an error nothing is known of
    /// the page cache, so the segment is left as it is and the next call starts a fresh one.
    pub fn append(&mut self, records: &[u8], now_us: i64) -> io::Result<()> {
        if self
            .current
            .as_ref()
            .is_some_and(|segment| !self.fits(segment, records.len()))
        {
            self.seal_current();
        }
        let mut segment = match self.current.take() {
            Some(segment) => segment,
            None => self.start_segment()?,
        };
        let written = segment
            .file
            .write_all_at(records, segment.end)
            .and_then(|()| segment.file.sync_data());
        segment.end += records.len() as u64;
        self.last_append_us = now_us;
        match written {
            Ok(()) => self.current = Some(segment),
            Err(error) => {
                self.sealed.push(Sealed {
                    number: segment.number,
                    last_append_us: now_us,
                });
                return Err(error);
            }
        }
        Ok(())
    }

    /// Ends the current segment. Returns the number that covers every record appended so far.
    pub fn rotate(&mut self) -> u64 {
        self.seal_current();
        self.last_number
    }

    /// Deletes segments up to `version`, whose rows are in the table, except those with records not
    /// older than `keep_after_us`: after a restart they tell which frames are resends.
    pub fn retire(&mut self, version: u64, keep_after_us: i64) -> io::Result<()> {
        let (old, kept): (Vec<Sealed>, Vec<Sealed>) =
            self.sealed.iter().copied().partition(|sealed| {
                sealed.number <= version && sealed.last_append_us < keep_after_us
            });
        for sealed in &old {
            match fs::remove_file(self.path(sealed.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sealed = kept;
        Ok(())
    }

    /// Dates the segments found at start, so that [`Journal::retire`] can let them go.
    pub fn set_recovered_at(&mut self, number: u64, last_append_us: i64) {
        for sealed in &mut self.sealed {
            if sealed.number == number {
                sealed.last_append_us = last_append_us;
            }
        }
    }

    /// Where [`prepare_spare`] may build the next segment, without holding up appends.
    pub fn spare(&self) -> (PathBuf, usize) {
        (self.directory.clone(), self.segment_bytes)
    }

    fn fits(&self, segment: &Segment, bytes: usize) -> bool {
        segment.end + bytes as u64 <= self.segment_bytes as u64
    }

    fn seal_current(&mut self) {
        if let Some(segment) = self.current.take() {
            // Only space is at stake: an untruncated segment reads the same.
            let _truncated = segment.file.set_len(segment.end);
            self.sealed.push(Sealed {
                number: segment.number,
                last_append_us: self.last_append_us,
            });
        }
    }

    fn start_segment(&mut self) -> io::Result<Segment> {
        let number = self.last_number + 1;
        let spare = self.directory.join(SPARE);
        if !spare.exists() {
            prepare_spare(&self.directory, self.segment_bytes)?;
        }
        let path = self.path(number);
        fs::rename(&spare, &path)?;
        sync_directory(&self.directory)?;
        self.last_number = number;
        let file = OpenOptions::new().read(true).write(true).open(&path)?;
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..].copy_from_slice(&number.to_le_bytes());
        file.write_all_at(&header, 0)?;
        Ok(Segment {
            number,
            file,
            end: HEADER_BYTES as u64,
        })
    }

    fn path(&self, number: u64) -> PathBuf {
        self.directory.join(format!("{number:020}.wal"))
    }
}

/// Builds the next segment beforehand: a file of zeros, on disk, under its final name only when
/// whole. Does nothing when there is one already.
pub fn prepare_spare(directory: &Path, bytes: usize) -> io::Result<()> {
    const ZEROS: &[u8] = &[0; 256 * 1024];
    let spare = directory.join(SPARE);
    if spare.exists() {
        return Ok(());
    }
    let building = directory.join("spare.tmp");
    let mut file = File::create(&building)?;
    let mut left = bytes;
    while left > 0 {
        let chunk = left.min(ZEROS.len());
        file.write_all(&ZEROS[..chunk])?;
        left -= chunk;
    }
    file.sync_all()?;
    fs::rename(&building, &spare)?;
    sync_directory(directory)
}

fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

fn numbers(directory: &Path) -> io::Result<Vec<u64>> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(directory)? {
        let name = entry?.file_name();
        let number: Option<u64> = name
            .to_str()
            .and_then(|name| name.strip_suffix(".wal")?.parse().ok());
        numbers.extend(number);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SEGMENT_BYTES: usize = 64 * 1024;

    fn record(body: &[u8]) -> Vec<u8> {
        let mut buffer = Vec::new();
        push_record(&mut buffer, body);
        buffer
    }

    fn bodies(journal: &Journal) -> Vec<Vec<u8>> {
        let mut bodies = Vec::new();
        for segment in journal.recover() {
            let (number, bytes) = segment.unwrap();
            bodies.extend(Records::new(&bytes, number).map(<[u8]>::to_vec));
        }
        bodies
    }

    #[test]
    fn appended_records_are_read_back_in_order() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"one"), 1).unwrap();
        journal
            .append(&[record(b"two"), record(b"three")].concat(), 2)
            .unwrap();
        assert_eq!(journal.rotate(), 1);
        journal.append(&record(b"four"), 3).unwrap();
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert_eq!(
            bodies(&journal),
            [
                b"one".to_vec(),
                b"two".to_vec(),
                b"three".to_vec(),
                b"four".to_vec()
            ]
        );
    }

    #[test]
    fn a_full_segment_is_followed_by_the_next() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        for _ in 0..100 {
            journal.append(&record(&[7; 2000]), 1).unwrap();
        }
        assert!(journal.rotate() >= 3);
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert_eq!(bodies(&journal).len(), 100);
    }

    #[test]
    fn numbers_go_on_above_the_committed_version() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 41).unwrap();
        journal.append(&record(b"x"), 1).unwrap();
        assert_eq!(journal.rotate(), 42);
    }

    #[test]
    fn retired_segments_stay_while_their_frames_may_be_resent() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"old"), 10).unwrap();
        journal.rotate();
        journal.append(&record(b"new"), 20).unwrap();
        let version = journal.rotate();
        journal.retire(version, 15).unwrap();
        assert_eq!(numbers(directory.path()).unwrap(), [2]);
        journal.retire(version, 21).unwrap();
        assert!(numbers(directory.path()).unwrap().is_empty());
    }

    #[test]
    fn a_segment_not_in_the_table_is_never_retired() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"x"), 10).unwrap();
        journal.rotate();
        journal.retire(0, i64::MAX).unwrap();
        assert_eq!(numbers(directory.path()).unwrap(), [1]);
    }

    proptest! {
        #[test]
        fn a_cut_or_flipped_segment_gives_a_prefix(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..20),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let mut segment = [&MAGIC[..], &1_u64.to_le_bytes()].concat();
            for body in &bodies {
                push_record(&mut segment, body);
            }
            let torn = &segment[..cut.index(segment.len() + 1)];
            let read: Vec<_> = Records::new(torn, 1).map(<[u8]>::to_vec).collect();
            prop_assert!(bodies.starts_with(&read));

            let at = flip.index(segment.len());
            segment[at] ^= 0x10;
            segment.extend_from_slice(&[0; 100]);
            let read: Vec<_> = Records::new(&segment, 1).map(<[u8]>::to_vec).collect();
            prop_assert!(bodies.starts_with(&read));
            prop_assert!(read.len() < bodies.len());
        }
    }
}
