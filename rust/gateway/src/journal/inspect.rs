//! What can be read of each segment, and what is lost? Looks only, also beside a running server.
//!
//! A write that a power cut interrupted lacks whole sectors: segments are prepared as zeros, so a
//! sector that was not written reads as zeros (at the border to earlier records, from there on).
//! Such a tail is torn, and nothing in it was acknowledged. A broken record without such a sector
//! was written whole and changed afterwards: that is damage, and what follows it is hidden.

use std::fs;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::{
    HEADER_BYTES, Header, RECORD_BODY_BYTES_MAX, RECORD_HEADER_BYTES, Records, WHOLE, counted_end,
    numbers, path, read_header,
};

/// The smallest unit that a disk writes whole or not at all.
const SECTOR_BYTES: usize = 512;

/// A segment that seems broken may just be written to, and a thread can be stopped in the middle of
/// copying a page. So many reads in a row must agree, with a commit tick in between.
const READS_AGREEING: u32 = 3;
const READ_PAUSE: Duration = Duration::from_millis(20);

/// A segment that looks different each time is being written to all the time.
const READS_MAX: u32 = 12;

/// Bytes summed up in search of whole records behind a broken one, some 0.2 s: hostile frames can
/// make every offset look like the start of a long record. Beyond, the count is a lower bound.
const SUMMED_BYTES_MAX: usize = 1 << 30;

/// What can be read of one segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SegmentReport {
    pub number: u64,
    /// Size of the file.
    pub bytes: u64,
    /// Whole records from the start: what a server that starts now takes over.
    pub records: u64,
    /// Where the last of them ends.
    pub read_bytes: u64,
    /// Bytes behind them, up to the zeros of a fresh segment.
    pub torn_bytes: u64,
    /// Whole records among these, which nothing will read.
    pub records_behind_damage: u64,
    pub state: SegmentState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentState {
    /// Every record can be read.
    Whole,
    /// The last write is not whole; it was not acknowledged.
    Torn,
    /// Records that were on disk cannot be read.
    Damaged,
}

/// Reads every segment, oldest first. One that is gone before it was read was retired.
pub fn inspect(directory: &Path) -> io::Result<Vec<SegmentReport>> {
    let numbers = numbers(directory)?;
    let mut headers = Vec::new();
    for &number in &numbers {
        headers.extend(unless_retired(read_header(&path(directory, number), number))?.flatten());
    }
    let mut reports = Vec::new();
    for &number in &numbers {
        let end = counted_end(&headers, number);
        reports.extend(settled(|| {
            let segment = unless_retired(fs::read(path(directory, number)))?;
            Ok(segment.map(|segment| judge(&segment, number, end)))
        })?);
    }
    Ok(reports)
}

fn unless_retired<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        result => result.map(Some),
    }
}

/// Looks until the segment is whole or stays as it is.
fn settled(
    look: impl Fn() -> io::Result<Option<SegmentReport>>,
) -> io::Result<Option<SegmentReport>> {
    let Some(mut seen) = look()? else {
        return Ok(None);
    };
    let mut agreeing = 1;
    for _ in 1..READS_MAX {
        if seen.state == SegmentState::Whole || agreeing == READS_AGREEING {
            return Ok(Some(seen));
        }
        thread::sleep(READ_PAUSE);
        let Some(next) = look()? else {
            return Ok(None);
        };
        let is_same = (next.state, next.read_bytes) == (seen.state, seen.read_bytes);
        agreeing = if is_same { agreeing + 1 } else { 1 };
        seen = next;
    }
    Ok(Some(SegmentReport {
        state: SegmentState::Torn,
        ..seen
    }))
}

/// `end`: where a later segment says that this one ends.
fn judge(segment: &[u8], number: u64, end: u32) -> SegmentReport {
    let counted = &segment[..segment.len().min(end as usize)];
    let mut records = Records::new(counted, number);
    let count = records.by_ref().count() as u64;
    let is_ours = Header::read(counted).is_some_and(|header| header.number == number);
    let read = if is_ours {
        counted.len() - records.rest.len()
    } else {
        0
    };
    let rest = &counted[read..];
    let torn = &rest[..rest
        .iter()
        .rposition(|&byte| byte != 0)
        .map_or(0, |at| at + 1)];
    let found = Behind::search(torn);
    let broken = read..read
        + found
            .first_at
            .unwrap_or_else(|| claimed(rest).max(torn.len()));

    let is_short = end != 0 && segment.len() < HEADER_BYTES;
    // The writer itself recorded that all up to there was on disk.
    let lacks_durable = ![0, WHOLE].contains(&end) && read < end as usize;
    let state = if is_short || lacks_durable {
        SegmentState::Damaged
    } else if torn.is_empty() {
        SegmentState::Whole
    } else if (is_ours && is_cut(rest)) || !has_unwritten_sector(counted, broken) {
        SegmentState::Damaged
    } else {
        SegmentState::Torn
    };
    SegmentReport {
        number,
        bytes: segment.len() as u64,
        records: count,
        read_bytes: read as u64,
        torn_bytes: torn.len() as u64,
        records_behind_damage: found.records,
        state,
    }
}

/// Length of the record at the start, by its own word; 0 when no record can be that long.
fn claimed_beyond(rest: &[u8]) -> usize {
    let Some((bytes, _)) = rest.split_first_chunk::<4>() else {
        return 0;
    };
    match u32::from_le_bytes(*bytes) as usize {
        bytes @ 1..=RECORD_BODY_BYTES_MAX => RECORD_HEADER_BYTES + bytes,
        _ => 0,
    }
}

fn claimed(rest: &[u8]) -> usize {
    claimed_beyond(rest).min(rest.len())
}

/// Whether the file ends inside a record. Segments are prepared longer than what is written to
/// them and cut behind a record, so this one was longer.
fn is_cut(rest: &[u8]) -> bool {
    let is_short = rest.len() < RECORD_HEADER_BYTES && rest.iter().any(|&byte| byte != 0);
    is_short || claimed_beyond(rest) > rest.len()
}

/// Whether a sector, or what of it lies in the range, has the zeros it was prepared with.
fn has_unwritten_sector(segment: &[u8], range: Range<usize>) -> bool {
    let mut at = range.start;
    while at < range.end {
        let next = ((at / SECTOR_BYTES + 1) * SECTOR_BYTES).min(range.end);
        if segment[at..next].iter().all(|&byte| byte == 0) {
            return true;
        }
        at = next;
    }
    false
}

/// Whole records behind a broken one.
#[derive(Default)]
struct Behind {
    first_at: Option<usize>,
    records: u64,
}

impl Behind {
    /// Looks for a record at every offset, since nothing says where the next one starts.
    fn search(bytes: &[u8]) -> Self {
        let mut found = Self::default();
        let mut at = 0;
        let mut summed = 0;
        while at < bytes.len() && summed < SUMMED_BYTES_MAX {
            let record = claimed_beyond(&bytes[at..]);
            if record == 0 {
                at += 1;
                continue;
            }
            summed += record;
            let mut here = Records {
                rest: &bytes[at..],
                foreign: &[],
            };
            if here.next().is_some() {
                found.first_at.get_or_insert(at);
                found.records += 1;
                at += record;
            } else {
                at += 1;
            }
        }
        found
    }
}

/// How many whole records damage hides in a segment as [`Journal::recover`](super::Journal::recover)
/// gives it; `None` when there is no damage. A torn tail is none.
pub fn hidden_by_damage(segment: &[u8], number: u64) -> Option<u64> {
    // Empty is what a later segment has made void.
    if segment.is_empty() {
        return None;
    }
    let report = judge(segment, number, WHOLE);
    (report.state == SegmentState::Damaged).then_some(report.records_behind_damage)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::{Journal, Position, push_record};
    use std::os::unix::fs::FileExt;

    const SEGMENT_BYTES: usize = 64 * 1024;
    /// Like a frame: no zero at either end.
    const BODY_BYTES: usize = 300;
    const RECORD_BYTES: usize = RECORD_HEADER_BYTES + BODY_BYTES;

    fn records(count: usize) -> Vec<u8> {
        let mut buffer = Vec::new();
        for number in 1..=count {
            push_record(&mut buffer, &[number as u8; BODY_BYTES]);
        }
        buffer
    }

    /// A journal whose one segment holds `count` records, as a crash leaves it.
    fn crashed(directory: &Path, count: usize) -> std::path::PathBuf {
        let mut journal = Journal::open(directory, SEGMENT_BYTES, 0).unwrap();
        journal.append(&records(count), 1).unwrap();
        path(directory, 1)
    }

    fn write_at(path: &Path, bytes: &[u8], at: usize) {
        let file = fs::OpenOptions::new().write(true).open(path).unwrap();
        file.write_all_at(bytes, at as u64).unwrap();
    }

    fn only(directory: &Path) -> SegmentReport {
        let reports = inspect(directory).unwrap();
        assert_eq!(reports.len(), 1);
        reports[0]
    }

    const fn record_at(number: usize) -> usize {
        HEADER_BYTES + number * RECORD_BYTES
    }

    #[test]
    fn a_sound_segment_is_whole_before_and_after_it_is_sealed() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&records(5), 1).unwrap();
        let open = only(directory.path());
        assert_eq!((open.state, open.records), (SegmentState::Whole, 5));
        assert_eq!(open.bytes, SEGMENT_BYTES as u64);
        journal.rotate();
        let sealed = only(directory.path());
        assert_eq!((sealed.state, sealed.records), (SegmentState::Whole, 5));
        assert_eq!(sealed.bytes, record_at(5) as u64);
    }

    #[test]
    fn a_flipped_bit_in_the_middle_is_damage_that_hides_what_follows() {
        let directory = tempfile::tempdir().unwrap();
        let segment = crashed(directory.path(), 10);
        write_at(&segment, &[0xff], record_at(3) + 100);
        let report = only(directory.path());
        assert_eq!(report.state, SegmentState::Damaged);
        assert_eq!((report.records, report.records_behind_damage), (3, 6));
        assert_eq!(report.read_bytes, record_at(3) as u64);
    }

    #[test]
    fn a_flipped_bit_in_the_last_record_or_in_a_length_is_damage() {
        for at in [record_at(9) + 100, record_at(4), record_at(4) + 5] {
            let directory = tempfile::tempdir().unwrap();
            let segment = crashed(directory.path(), 10);
            write_at(&segment, &[0xfe], at);
            assert_eq!(only(directory.path()).state, SegmentState::Damaged, "{at}");
        }
    }

    #[test]
    fn a_damaged_header_hides_every_record() {
        let directory = tempfile::tempdir().unwrap();
        let segment = crashed(directory.path(), 10);
        write_at(&segment, &[0xff], 9);
        let report = only(directory.path());
        assert_eq!(report.state, SegmentState::Damaged);
        assert_eq!((report.records, report.records_behind_damage), (0, 10));
    }

    #[test]
    fn a_write_of_which_sectors_are_missing_is_torn() {
        // The last write: records 5 to 9. Whatever sectors of it are missing, it was not answered.
        for (from, to) in [(4, 5), (5, 6), (3, 5), (4, 7), (3, 6)] {
            let directory = tempfile::tempdir().unwrap();
            let segment = crashed(directory.path(), 10);
            let start = (from * SECTOR_BYTES).max(record_at(5));
            write_at(&segment, &vec![0; to * SECTOR_BYTES - start], start);
            let report = only(directory.path());
            assert_eq!(report.state, SegmentState::Torn, "sectors {from} to {to}");
            assert!(report.records >= 5);
            assert!(report.records + report.records_behind_damage < 10);
        }
    }

    #[test]
    fn a_segment_that_was_cut_off_is_damaged() {
        for bytes in [0, 10, record_at(6) + 4, record_at(6) + 200] {
            let directory = tempfile::tempdir().unwrap();
            let segment = crashed(directory.path(), 10);
            let file = fs::OpenOptions::new().write(true).open(segment).unwrap();
            file.set_len(bytes as u64).unwrap();
            assert_eq!(
                only(directory.path()).state,
                SegmentState::Damaged,
                "{bytes}"
            );
        }
    }

    #[test]
    fn the_next_segment_tells_that_the_end_of_one_is_missing() {
        let directory = tempfile::tempdir().unwrap();
        let mut journal = Journal::open(directory.path(), SEGMENT_BYTES, 0).unwrap();
        journal.append(&records(10), 1).unwrap();
        journal.rotate();
        journal.append(&records(1), 2).unwrap();
        // Cut behind a record: the segment itself looks sound.
        let first = fs::OpenOptions::new()
            .write(true)
            .open(path(directory.path(), 1))
            .unwrap();
        first.set_len(record_at(7) as u64).unwrap();
        let reports = inspect(directory.path()).unwrap();
        assert_eq!(
            (reports[0].state, reports[0].records),
            (SegmentState::Damaged, 7)
        );
        assert_eq!(reports[1].state, SegmentState::Whole);
    }

    #[test]
    fn what_a_failed_write_left_behind_is_no_damage() {
        let directory = tempfile::tempdir().unwrap();
        let segment = crashed(directory.path(), 10);
        // Behind what the next segment says was durable.
        write_at(&segment, &records(2)[1..], record_at(10));
        let durable = Position {
            number: 1,
            end: record_at(10) as u32,
        };
        let header = Header { number: 2, durable };
        fs::write(path(directory.path(), 2), header.to_bytes()).unwrap();
        let reports = inspect(directory.path()).unwrap();
        assert_eq!(
            (reports[0].state, reports[0].records),
            (SegmentState::Whole, 10)
        );
    }

    #[test]
    fn random_bytes_hold_no_record_and_hostile_ones_cost_a_bounded_time() {
        assert_eq!(Behind::search(&[0x5a; SEGMENT_BYTES]).records, 0);
        // A long record could start at every fourth offset of 16 MiB.
        let hostile = [0x00, 0x40, 0x00, 0x00].repeat(4 * 1024 * 1024);
        let started = std::time::Instant::now();
        assert_eq!(Behind::search(&hostile).records, 0);
        assert!(started.elapsed() < Duration::from_secs(20));
    }
}
