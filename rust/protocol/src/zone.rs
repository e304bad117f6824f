//! Which instant does an inverter's wall clock mean, and how far is a zone from UTC?

use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

#[derive(Debug, thiserror::Error)]
#[error("unknown time zone {0:?}, wanted a name such as Europe/Amsterdam")]
pub struct ZoneError(String);

/// A time zone by its IANA name, from the database inside this program.
#[derive(Debug, Clone)]
pub struct Zone(TimeZone);

/// The last year of which every moment is an instant in every zone.
const YEAR_MAX: i16 = 9998;

/// What a wall clock showed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockReading(civil::DateTime);

impl ClockReading {
    /// `None` when it is no date and time. Years count from 2000, as inverters send them.
    pub fn new(year: u16, month: u8, day: u8, hour: u8, minute: u8, second: u8) -> Option<Self> {
        let small = |value: u8| i8::try_from(value).ok();
        let year = i16::try_from(year).ok()?.checked_add(2000)?;
        if year > YEAR_MAX {
            return None;
        }
        civil::DateTime::new(
            year,
            small(month)?,
            small(day)?,
            small(hour)?,
            small(minute)?,
            small(second)?,
            0,
        )
        .ok()
        .map(Self)
    }

    /// Microseconds since 1970-01-01 00:00 of the same wall clock.
    pub fn wall_us(self) -> Option<i64> {
        instant_us(self.0, Offset::UTC)
    }
}

impl Zone {
    pub fn named(name: &str) -> Result<Self, ZoneError> {
        TimeZone::get(name)
            .map(Self)
            .map_err(|_| ZoneError(name.to_owned()))
    }

    /// Minutes to add to UTC at that moment: 60 or 120 for Amsterdam.
    pub fn offset_minutes(&self, unix_s: i64) -> i32 {
        Timestamp::from_second(unix_s).map_or(0, |instant| self.0.to_offset(instant).seconds() / 60)
    }

    /// The instant, in microseconds since 1970 UTC, that a clock in this zone showed.
    ///
    /// In spring an hour does not exist: a clock that shows it was not put forward yet. In autumn
    /// one exists twice: the later of the two that is not after `not_after_us` is meant, because a
    /// sample arrives soon after it was taken.
    pub fn resolve(&self, local: ClockReading, not_after_us: i64) -> Option<i64> {
        match self.0.to_ambiguous_timestamp(local.0).offset() {
            AmbiguousOffset::Unambiguous { offset } => instant_us(local.0, offset),
            AmbiguousOffset::Gap { before, .. } => instant_us(local.0, before),
            AmbiguousOffset::Fold { before, after } => {
                let later = instant_us(local.0, after)?;
                if later <= not_after_us {
                    Some(later)
                } else {
                    instant_us(local.0, before)
                }
            }
        }
    }
}

fn instant_us(local: civil::DateTime, offset: Offset) -> Option<i64> {
    offset
        .to_timestamp(local)
        .ok()
        .map(Timestamp::as_microsecond)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FAR: i64 = i64::MAX;

    fn at(text: &str) -> i64 {
        text.parse::<Timestamp>().unwrap().as_microsecond()
    }

    fn clock(month: u8, day: u8, hour: u8, minute: u8) -> ClockReading {
        ClockReading::new(21, month, day, hour, minute, 0).unwrap()
    }

    #[test]
    fn winter_and_summer_have_their_offsets() {
        let zone = Zone::named("Europe/Amsterdam").unwrap();
        assert_eq!(
            zone.resolve(clock(1, 15, 12, 0), FAR),
            Some(at("2021-01-15T11:00:00Z"))
        );
        assert_eq!(
            zone.resolve(clock(7, 15, 12, 0), FAR),
            Some(at("2021-07-15T10:00:00Z"))
        );
        assert_eq!(
            zone.offset_minutes(at("2021-01-15T11:00:00Z") / 1_000_000),
            60
        );
        assert_eq!(
            zone.offset_minutes(at("2021-07-15T11:00:00Z") / 1_000_000),
            120
        );
    }

    #[test]
    fn the_missing_hour_of_spring_is_a_clock_not_put_forward() {
        let zone = Zone::named("Europe/Amsterdam").unwrap();
        assert_eq!(
            zone.resolve(clock(3, 28, 1, 59), FAR),
            Some(at("2021-03-28T00:59:00Z"))
        );
        assert_eq!(
            zone.resolve(clock(3, 28, 2, 30), FAR),
            Some(at("2021-03-28T01:30:00Z"))
        );
        assert_eq!(
            zone.resolve(clock(3, 28, 3, 0), FAR),
            Some(at("2021-03-28T01:00:00Z"))
        );
        let london = Zone::named("Europe/London").unwrap();
        assert_eq!(
            london.resolve(clock(3, 28, 1, 30), FAR),
            Some(at("2021-03-28T01:30:00Z"))
        );
    }

    #[test]
    fn the_double_hour_of_autumn_is_the_latest_that_can_have_been() {
        let zone = Zone::named("Europe/Amsterdam").unwrap();
        let first = at("2021-10-31T00:30:00Z");
        let second = at("2021-10-31T01:30:00Z");
        assert_eq!(
            zone.resolve(clock(10, 31, 2, 30), first + 60_000_000),
            Some(first)
        );
        assert_eq!(
            zone.resolve(clock(10, 31, 2, 30), second + 60_000_000),
            Some(second)
        );
        assert_eq!(
            zone.resolve(clock(10, 31, 3, 0), FAR),
            Some(at("2021-10-31T02:00:00Z"))
        );
    }

    #[test]
    fn london_changes_at_the_same_instants_an_hour_earlier_on_the_wall() {
        let zone = Zone::named("Europe/London").unwrap();
        let spring = at("2021-03-28T01:00:00Z");
        assert_eq!(
            zone.resolve(clock(3, 28, 0, 59), FAR),
            Some(spring - 60_000_000)
        );
        assert_eq!(zone.resolve(clock(3, 28, 2, 0), FAR), Some(spring));
        let autumn = at("2021-10-31T01:00:00Z");
        let (first, second) = (autumn - 1_800_000_000, autumn + 1_800_000_000);
        assert_eq!(
            zone.resolve(clock(10, 31, 0, 59), FAR),
            Some(autumn - 3_660_000_000)
        );
        assert_eq!(zone.resolve(clock(10, 31, 1, 30), second - 1), Some(first));
        assert_eq!(zone.resolve(clock(10, 31, 1, 30), second), Some(second));
        assert_eq!(
            zone.resolve(clock(10, 31, 2, 0), FAR),
            Some(autumn + 3_600_000_000)
        );
    }

    #[test]
    fn the_offset_changes_with_the_second() {
        for (name, winter, summer) in [("Europe/London", 0, 60), ("Europe/Amsterdam", 60, 120)] {
            let zone = Zone::named(name).unwrap();
            let offsets = |instant: &str| {
                let second = at(instant) / 1_000_000;
                (zone.offset_minutes(second - 1), zone.offset_minutes(second))
            };
            assert_eq!(offsets("2021-03-28T01:00:00Z"), (winter, summer), "{name}");
            assert_eq!(offsets("2021-10-31T01:00:00Z"), (summer, winter), "{name}");
        }
    }

    #[test]
    fn rubbish_is_no_clock_and_no_zone() {
        assert!(ClockReading::new(21, 13, 1, 0, 0, 0).is_none());
        assert!(ClockReading::new(21, 2, 29, 0, 0, 0).is_none());
        assert!(ClockReading::new(0xFFFF, 1, 1, 0, 0, 0).is_none());
        assert!(ClockReading::new(7999, 12, 31, 23, 59, 59).is_none());
        assert!(Zone::named("Mars/Olympus").is_err());
    }

    #[test]
    fn the_last_clock_that_counts_is_an_instant_in_every_zone() {
        let last = ClockReading::new(7998, 12, 31, 23, 59, 59).unwrap();
        assert_eq!(last.wall_us(), Some(253_370_764_799_000_000));
        for name in ["UTC", "Pacific/Kiritimati", "Etc/GMT+12"] {
            let zone = Zone::named(name).unwrap();
            assert!(zone.resolve(last, FAR).is_some(), "{name}");
        }
    }
}
