//! What survives a power cut? Append-only segments of accepted frames.
//!
//! A segment is a pre-zeroed file `<number>.wal`: a header, then records back to back, then zeros.
//! [`Journal::append`] returns when its records are on disk (`fdatasync`); overwriting zeroed blocks
//! keeps that call free of metadata, which measured 1.5-2.5 times faster than a growing file.
//! After a restart nothing is ever appended to an old segment: a torn tail is simply not read.
//!
//! A write that failed may have reached the disk all the same. Its records were not acknowledged and
//! come again in a later segment, so the first copy must not count: neither as stored nor as seen
//! before. Each segment's header therefore says where the journal was known to be durable when the
//! segment was started; what stands behind that in older segments is void. Until such a header is on
//! disk, [`Journal::rotate`] refuses to end the batch.
//!
//! Header: magic, number, number and end of the last durable segment, CRC32C of these.
//! Record: `u32` body length, `u32` CRC32C of the body, body. A length of zero ends the segment.

mod inspect;

pub use inspect::{SegmentReport, SegmentState, hidden_by_damage, inspect};

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

const MAGIC: &[u8; 8] = b"AUTJRNL1";
const HEADER_BYTES: usize = 32;
const HEADER_CRC_AT: usize = HEADER_BYTES - 4;
/// End of a segment that was read to its end by whoever started the next one.
const WHOLE: u32 = u32::MAX;
const RECORD_HEADER_BYTES: usize = 8;
/// A record holds one frame (at most 4,109 bytes) or one session event with its short texts; a
/// larger length can only be damage.
const RECORD_BODY_BYTES_MAX: usize = 16 * 1024;
const SPARE: &str = "spare";
const BUILDING_SUFFIX: &str = ".tmp";
const DAMAGED: &str = "damaged";

/// Adds one record to a buffer that [`Journal::append`] will write.
pub fn push_record(buffer: &mut Vec<u8>, body: &[u8]) {
    push_record_of(buffer, |buffer| buffer.extend_from_slice(body));
}

/// As [`push_record`], for a body that `write` adds to the buffer itself.
pub(crate) fn push_record_of(buffer: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    let header_at = buffer.len();
    let body_at = header_at + RECORD_HEADER_BYTES;
    buffer.extend_from_slice(&[0; RECORD_HEADER_BYTES]);
    write(buffer);
    let bytes = buffer.len() - body_at;
    debug_assert!((1..=RECORD_BODY_BYTES_MAX).contains(&bytes));
    let crc = crc32c::crc32c(&buffer[body_at..]);
    buffer[header_at..header_at + 4].copy_from_slice(&(bytes as u32).to_le_bytes());
    buffer[header_at + 4..body_at].copy_from_slice(&crc.to_le_bytes());
}

/// The bodies in a buffer that [`push_record`] has filled; nothing has happened to it since, so no
/// checksum is looked at.
pub(crate) fn bodies(records: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = records;
    std::iter::from_fn(move || {
        let (header, behind) = rest.split_at_checked(RECORD_HEADER_BYTES)?;
        let bytes = u32::from_le_bytes(*header.first_chunk()?) as usize;
        let (body, behind) = behind.split_at_checked(bytes)?;
        rest = behind;
        Some(body)
    })
}

/// The records of a segment file's bytes, up to the first that is not whole.
#[derive(Debug)]
pub struct Records<'a> {
    rest: &'a [u8],
    /// The content of a file whose header is not ours.
    foreign: &'a [u8],
}

impl<'a> Records<'a> {
    /// `segment` is the file's content. A header that is not ours (a segment that was never
    /// written to) gives no records.
    pub fn new(segment: &'a [u8], number: u64) -> Self {
        let (rest, foreign) = match Header::read(segment) {
            Some(header) if header.number == number => (&segment[HEADER_BYTES..], &[][..]),
            _ => (&[][..], segment),
        };
        Self { rest, foreign }
    }

    /// Bytes that could not be read and are not the zeros of a fresh segment: those behind the last
    /// whole record, or all of a file whose header is not ours.
    pub fn torn_bytes(&self) -> usize {
        self.unread()
            .iter()
            .rposition(|&byte| byte != 0)
            .map_or(0, |last| last + 1)
    }

    fn unread(&self) -> &'a [u8] {
        if self.foreign.is_empty() {
            self.rest
        } else {
            self.foreign
        }
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

#[derive(Debug, Clone, Copy)]
struct Header {
    number: u64,
    durable: Position,
}

/// Everything up to `end` of segment `number` is durable, and all older segments.
#[derive(Debug, Clone, Copy)]
struct Position {
    number: u64,
    end: u32,
}

impl Header {
    fn read(segment: &[u8]) -> Option<Self> {
        let header = segment.get(..HEADER_BYTES)?;
        let word = |at: usize| {
            header[at..]
                .first_chunk()
                .map(|bytes| u64::from_le_bytes(*bytes))
        };
        let half = |at: usize| {
            header[at..]
                .first_chunk()
                .map(|bytes| u32::from_le_bytes(*bytes))
        };
        let is_ours = header.starts_with(MAGIC)
            && half(HEADER_CRC_AT) == Some(crc32c::crc32c(&header[..HEADER_CRC_AT]));
        is_ours.then_some(Self {
            number: word(8)?,
            durable: Position {
                number: word(16)?,
                end: half(24)?,
            },
        })
    }

    fn to_bytes(self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(MAGIC);
        header[8..16].copy_from_slice(&self.number.to_le_bytes());
        header[16..24].copy_from_slice(&self.durable.number.to_le_bytes());
        header[24..28].copy_from_slice(&self.durable.end.to_le_bytes());
        let crc = crc32c::crc32c(&header[..HEADER_CRC_AT]);
        header[HEADER_CRC_AT..].copy_from_slice(&crc.to_le_bytes());
        header
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
    durable: Position,
    /// A write failed and no later one has succeeded.
    unsure: bool,
    sealed: Vec<Sealed>,
}

impl Journal {
    /// Opens the directory, creating it if need be. New segments are numbered above every file found
    /// and above `committed`, the newest segment whose rows are in the table.
    pub fn open(directory: &Path, segment_bytes: usize, committed: u64) -> io::Result<Self> {
        fs::create_dir_all(directory)?;
        remove_half_built(directory)?;
        let numbers = numbers(directory)?;
        Ok(Self {
            directory: directory.to_owned(),
            segment_bytes: segment_bytes.max(HEADER_BYTES + RECORD_BODY_BYTES_MAX),
            current: None,
            last_number: numbers.last().copied().unwrap_or(0).max(committed),
            last_append_us: i64::MIN,
            durable: Position {
                number: numbers.last().copied().unwrap_or(0),
                end: WHOLE,
            },
            unsure: false,
            sealed: numbers
                .iter()
                .map(|&number| Sealed {
                    number,
                    last_append_us: i64::MAX,
                })
                .collect(),
        })
    }

    /// Every segment found at [`Journal::open`], oldest first: its number and its content up to
    /// where it counts.
    pub fn recover(&self) -> io::Result<impl Iterator<Item = io::Result<(u64, Vec<u8>)>> + '_> {
        let mut headers = Vec::new();
        for sealed in &self.sealed {
            headers.extend(read_header(&self.path(sealed.number), sealed.number)?);
        }
        Ok(self.sealed.iter().map(move |sealed| {
            let mut bytes = fs::read(self.path(sealed.number))?;
            bytes.truncate(counted_end(&headers, sealed.number) as usize);
            Ok((sealed.number, bytes))
        }))
    }

    /// Writes whole records and returns when they are durable; `now_us` is on a clock that does not
    /// jump. After an error nothing is known of
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
        self.last_append_us = now_us;
        if let Err(error) = written {
            self.unsure = true;
            self.sealed.push(Sealed {
                number: segment.number,
                last_append_us: now_us,
            });
            return Err(error);
        }
        segment.end += records.len() as u64;
        // Segments are far smaller than 4 GiB.
        let end = u32::try_from(segment.end).map_err(io::Error::other)?;
        self.durable = Position {
            number: segment.number,
            end,
        };
        self.unsure = false;
        self.current = Some(segment);
        Ok(())
    }

    /// Ends the current segment. Returns the number that covers every record appended so far; `None`
    /// while what a failed write left behind is not made void yet.
    pub fn rotate(&mut self) -> Option<u64> {
        if self.unsure {
            return None;
        }
        self.seal_current();
        Some(self.last_number)
    }

    /// Deletes segments up to `version`, whose rows are in the table, except those with records not
    /// older than `keep_after_us`: after a restart they tell which frames are resends.
    pub fn retire(&mut self, version: u64, keep_after_us: i64) -> io::Result<()> {
        self.remove(|sealed| sealed.number <= version && sealed.last_append_us < keep_after_us)
    }

    /// Deletes every segment up to `version`; when this returns, they are gone from the disk.
    pub fn retire_at_once(&mut self, version: u64) -> io::Result<()> {
        self.remove(|sealed| sealed.number <= version)?;
        sync_directory(&self.directory)
    }

    fn remove(&mut self, is_old: impl Fn(&Sealed) -> bool) -> io::Result<()> {
        let (old, kept): (Vec<Sealed>, Vec<Sealed>) = self.sealed.iter().copied().partition(is_old);
        for sealed in &old {
            match fs::remove_file(self.path(sealed.number)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        self.sealed = kept;
        Ok(())
    }

    /// Keeps a second name for a segment that could not be read to its end, so that retiring it
    /// destroys nothing that somebody may still rescue.
    pub fn set_aside(&self, number: u64) -> io::Result<PathBuf> {
        let kept = self.path(number).with_extension(DAMAGED);
        match fs::hard_link(self.path(number), &kept) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
            _ => Ok(kept),
        }
    }

    /// Removes what [`Journal::set_aside`] has kept; when this returns, it is gone from the disk.
    /// Returns how many files there were.
    pub fn remove_damaged(&self) -> io::Result<usize> {
        let mut removed = 0;
        for entry in fs::read_dir(&self.directory)? {
            let path = entry?.path();
            if path
                .extension()
                .is_some_and(|extension| extension == DAMAGED)
            {
                fs::remove_file(path)?;
                removed += 1;
            }
        }
        sync_directory(&self.directory)?;
        Ok(removed)
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
        let started = OpenOptions::new()
            .read(true)
            .write(true)
            .open(&path)
            .and_then(|file| {
                let header = Header {
                    number,
                    durable: self.durable,
                };
                file.write_all_at(&header.to_bytes(), 0).map(|()| file)
            });
        match started {
            Ok(file) => Ok(Segment {
                number,
                file,
                end: HEADER_BYTES as u64,
            }),
            Err(error) => {
                self.sealed.push(Sealed {
                    number,
                    last_append_us: self.last_append_us,
                });
                Err(error)
            }
        }
    }

    fn path(&self, number: u64) -> PathBuf {
        path(&self.directory, number)
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
    // Several threads may build one at a time: each has a file of its own. With a shared one, the
    // slower would write its zeros over records that the faster one's segment holds by then.
    static BUILT: AtomicU64 = AtomicU64::new(0);
    let number = BUILT.fetch_add(1, Ordering::Relaxed);
    let building = directory.join(format!("{SPARE}-{number}{BUILDING_SUFFIX}"));
    let built = File::create(&building).and_then(|mut file| {
        let mut left = bytes;
        while left > 0 {
            let chunk = left.min(ZEROS.len());
            file.write_all(&ZEROS[..chunk])?;
            left -= chunk;
        }
        file.sync_all()
    });
    if let Err(error) = built {
        // Half a segment of zeros must not take the last of a full disk from everybody else.
        let _removed = fs::remove_file(&building);
        return Err(error);
    }
    fs::rename(&building, &spare)?;
    sync_directory(directory)
}

fn path(directory: &Path, number: u64) -> PathBuf {
    directory.join(segment_name(number))
}

fn segment_name(number: u64) -> String {
    format!("{number:020}.wal")
}

fn read_header(path: &Path, number: u64) -> io::Result<Option<Header>> {
    let mut bytes = Vec::new();
    File::open(path)?
        .take(HEADER_BYTES as u64)
        .read_to_end(&mut bytes)?;
    Ok(Header::read(&bytes).filter(|header| header.number == number))
}

/// Where segment `number` ends by what later segments say of it.
fn counted_end(headers: &[Header], number: u64) -> u32 {
    let later = headers.iter().filter(|header| header.number > number);
    // A segment newer than the durable one, and older than the header that says so, is void.
    later
        .filter(|header| header.durable.number <= number)
        .map(|header| {
            if header.durable.number < number {
                0
            } else {
                header.durable.end
            }
        })
        .min()
        .unwrap_or(WHOLE)
}

/// What an earlier process did not finish building.
fn remove_half_built(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let name = name.to_str().unwrap_or_default();
        if name.starts_with(SPARE) && name.ends_with(BUILDING_SUFFIX) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
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
        // A stranger's file that only looks like one of ours is none.
        let is_ours = |number: &u64| *number < u64::MAX && *name == *segment_name(*number);
        numbers.extend(number.filter(is_ours));
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
        for segment in journal.recover().unwrap() {
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
        assert_eq!(journal.rotate(), Some(1));
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
        assert!(journal.rotate() >= Some(3));
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert_eq!(bodies(&journal).len(), 100);
    }

    #[test]
    fn numbers_go_on_above_the_committed_version() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 41).unwrap();
        journal.append(&record(b"x"), 1).unwrap();
        assert_eq!(journal.rotate(), Some(42));
    }

    #[test]
    fn retired_segments_stay_while_their_frames_may_be_resent() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"old"), 10).unwrap();
        journal.rotate();
        journal.append(&record(b"new"), 20).unwrap();
        let version = journal.rotate().unwrap();
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

    #[test]
    fn a_purge_lets_go_of_young_segments_too_and_of_nothing_else() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"young"), 10).unwrap();
        let version = journal.rotate().unwrap();
        journal.append(&record(b"not in the table"), 10).unwrap();
        journal.rotate();
        drop(journal);
        // Found at start and not dated yet.
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, version).unwrap();
        journal.retire(version, 20).unwrap();
        assert_eq!(numbers(directory.path()).unwrap(), [1, 2]);
        journal.retire_at_once(version).unwrap();
        assert_eq!(numbers(directory.path()).unwrap(), [2]);
    }

    #[test]
    fn a_purge_removes_what_was_kept_for_a_rescue() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"x"), 10).unwrap();
        journal.rotate();
        let kept = journal.set_aside(1).unwrap();
        assert_eq!(journal.remove_damaged().unwrap(), 1);
        assert!(!kept.exists());
        assert_eq!(journal.remove_damaged().unwrap(), 0);
        assert_eq!(numbers(directory.path()).unwrap(), [1]);
    }

    /// Makes the next write fail although its bytes reach the disk.
    fn break_after_writing(journal: &mut Journal, records: &[u8]) {
        let path = journal.path(journal.last_number);
        let segment = journal.current.as_mut().unwrap();
        segment.file.write_all_at(records, segment.end).unwrap();
        segment.file = File::open(path).unwrap();
    }

    #[test]
    fn what_a_failed_write_left_behind_does_not_count() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"before"), 1).unwrap();
        break_after_writing(&mut journal, &record(b"again"));
        assert!(journal.append(&record(b"again"), 2).is_err());
        assert_eq!(
            journal.rotate(),
            None,
            "a batch could end before the void is recorded"
        );
        journal.append(&record(b"again"), 3).unwrap();
        assert_eq!(journal.rotate(), Some(2));
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert_eq!(bodies(&journal), [b"before".to_vec(), b"again".to_vec()]);
        let in_first: Vec<_> = journal.recover().unwrap().flatten().take(1).collect();
        assert_eq!(Records::new(&in_first[0].1, 1).count(), 1);
    }

    #[test]
    fn a_segment_between_two_failures_is_void() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"before"), 1).unwrap();
        break_after_writing(&mut journal, &record(b"lost"));
        assert!(journal.append(&record(b"lost"), 2).is_err());
        let mut segment = journal.start_segment().unwrap();
        segment
            .file
            .write_all_at(&record(b"lost"), segment.end)
            .unwrap();
        segment.file = File::open(journal.path(segment.number)).unwrap();
        journal.current = Some(segment);
        assert!(journal.append(&record(b"lost"), 3).is_err());
        journal.append(&record(b"after"), 4).unwrap();
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert_eq!(bodies(&journal), [b"before".to_vec(), b"after".to_vec()]);
    }

    #[test]
    fn without_a_later_segment_a_failed_write_counts_if_it_is_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&record(b"before"), 1).unwrap();
        break_after_writing(&mut journal, &record(b"whole"));
        assert!(journal.append(&record(b"whole"), 2).is_err());
        drop(journal);
        // Started again: what is read back now is in the table soon, so it stays counted.
        for _ in 0..2 {
            let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
            assert_eq!(
                bodies(&journal)[..2],
                [b"before".to_vec(), b"whole".to_vec()]
            );
            journal.append(&record(b"later"), 3).unwrap();
        }
    }

    #[test]
    fn a_spare_built_meanwhile_harms_no_segment() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        let building = std::sync::atomic::AtomicBool::new(true);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while building.load(Ordering::Relaxed) {
                    prepare_spare(directory.path(), SEGMENT_BYTES).unwrap();
                }
            });
            for number in 0..400_u32 {
                journal
                    .append(&record(&number.to_le_bytes()), 1)
                    .expect("nobody takes the file away that is being built");
                journal.rotate();
            }
            building.store(false, Ordering::Relaxed);
        });
        drop(journal);
        let journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        let expected: Vec<_> = (0..400_u32).map(|n| n.to_le_bytes().to_vec()).collect();
        assert_eq!(bodies(&journal), expected);
    }

    #[test]
    fn strangers_files_and_half_built_ones_are_no_segments() {
        let directory = tempfile::tempdir().unwrap();
        for name in ["1.wal", "+5.wal", "18446744073709551615.wal", "spare-3.tmp"] {
            fs::write(directory.path().join(name), b"whatever").unwrap();
        }
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        assert!(bodies(&journal).is_empty());
        assert!(!directory.path().join("spare-3.tmp").exists());
        journal.append(&record(b"x"), 1).unwrap();
        assert_eq!(journal.rotate(), Some(1));
    }

    #[test]
    fn a_foreign_header_hides_records_and_says_so() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal
            .append(&[record(b"one"), record(b"two")].concat(), 1)
            .unwrap();
        journal.rotate();
        let file = OpenOptions::new()
            .write(true)
            .open(journal.path(1))
            .unwrap();
        file.write_all_at(&[0xFF], 9).unwrap();
        let bytes = fs::read(journal.path(1)).unwrap();
        let mut records = Records::new(&bytes, 1);
        assert_eq!(records.next(), None);
        assert_eq!(hidden_by_damage(&bytes, 1), Some(2));
        assert_eq!(records.torn_bytes(), bytes.len());
        let kept = journal.set_aside(1).unwrap();
        journal.retire(1, i64::MAX).unwrap();
        assert_eq!(fs::read(kept).unwrap(), bytes);
    }

    proptest! {
        #[test]
        fn a_cut_or_flipped_segment_gives_a_prefix(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 1..20),
            cut in any::<prop::sample::Index>(),
            flip in any::<prop::sample::Index>(),
        ) {
            let durable = Position { number: 0, end: WHOLE };
            let mut segment = Header { number: 1, durable }.to_bytes().to_vec();
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
