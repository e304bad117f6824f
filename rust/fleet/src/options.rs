//! What was asked for on the command line, and is it allowed?

use std::ffi::OsString;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use lexopt::{Arg, Parser, ValueExt};

use crate::acknowledged::Form;
use crate::day::Day;
use crate::stick::Life;

pub(crate) const HELP: &str = "\
autarco-fleet: a fleet of imaginary V5 sticks that loads a server on this machine

Usage: autarco-fleet --to HOST:PORT --sticks N [OPTIONS]

Four ways to live, each of which ends by itself:
  (default)               every stick sends its day; frame follows answer
  --seconds T             without --hours: once all are there, every stick sends a record as soon as
                          the one before is answered, for T seconds: a closed loop without a pause
  --hold SECONDS          every stick connects, says hello, sends one record, and stays; prints
                          'connected N' when all are there, then holds them for SECONDS
  --no-record             with --hold: say hello and stay, without a record
  --open-loop             records leave at their intended times whatever the server does, for
                          --seconds at --rate; latency counts from the intended time

Whom and how many:
  --to HOST:PORT          a loopback address; repeated, sticks take turns among them
  --sticks N              how many sticks
  --first-serial S        serial number of the first one [1800000001]
  --sources K             connect from K addresses, 127.0.0.2 and up [the system's choice]
  --first-source ADDRESS  the first of them [127.0.0.2]
  --connect-rate R        connections begun per second, 0 for no limit [2000]

When:
  --rate R                frames per second of the whole fleet, 0 for no limit [0]
  --seconds T             begin nothing after T seconds, and end when the last answers are here;
                          loops count from when all are there
  --until-eof             end as soon as standard input ends
  --begin-on-input        a loop waits for a line on standard input, so that several fleets begin
                          together, and ends as with --until-eof
  --hours H               the simulated span of a day [24]
  --cadence-seconds C     simulated seconds between two records of a stick [300; in a loop so that
                          all fit a day]
  --end UNIX              the end of the simulated span [now]
  --heartbeats-per-data K heartbeats after each live record; real sticks send 2 [1]
  --heartbeat-seconds H   with --hold: real seconds between heartbeats of a stick, 0 for none [120]
  --window K              records that a stick with so many sends in one write, before it waits for
                          all their answers; real sticks send 1 [1]
  --answer-seconds A      a frame without answer is sent again after A seconds [11]

What goes wrong, in a day and in a closed loop:
  --outages SHARE         sticks that are offline once and send stored records after it [0.08]
  --resends SHARE         records sent twice, as if the answer had been lost [0.003]
  --hangups SHARE         records after which the connection breaks, and as many again whose answer
                          is cut off by a break [0.001]
  --seed N                another fleet [1]

What is told:
  --acknowledged FILE     CSV of every record that the server acknowledged
  --acknowledged-keys FILE  of each only logger and record number, as four bytes each
  --announce              print 'measuring' when all are there and a loop begins
  --help                  this text

A report as one line of JSON goes to standard output, progress to standard error. Its measured_s,
frames_per_s and cpu_s are those of the loop, without connecting. A fleet that gets no answer for a
minute gives up.
";

/// A year of records every second would not fit the record number's meaning; nor does anybody need it.
const RECORDS_MAX: u32 = 1_000_000;
/// Frames are told apart by a counter of one byte.
const WINDOW_MAX: usize = 128;
/// More answers per second than one connection can get: each waits for a disk.
const ANSWERS_PER_S: f64 = 5_000.0;
/// More records per second than a machine with a fleet on it can take.
const RECORDS_PER_S: f64 = 4_000_000.0;
const DAY_S: f64 = 86_400.0;

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Mode {
    Day,
    ClosedLoop {
        seconds: f64,
    },
    Hold {
        hold_s: f64,
        heartbeat_s: f64,
        with_record: bool,
    },
    OpenLoop,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Options {
    pub(crate) mode: Mode,
    pub(crate) targets: Vec<SocketAddr>,
    pub(crate) sticks: u32,
    pub(crate) first_serial: u32,
    sources: u32,
    first_source: Ipv4Addr,
    pub(crate) connect_rate: f64,
    pub(crate) rate: f64,
    pub(crate) seconds: Option<f64>,
    pub(crate) until_eof: bool,
    pub(crate) begin_on_input: bool,
    pub(crate) announce: bool,
    pub(crate) answer_s: f64,
    pub(crate) acknowledged: Option<(PathBuf, Form)>,
    pub(crate) life: Life,
}

#[derive(Debug)]
pub(crate) enum Asked {
    Help,
    Run(Box<Options>),
}

#[derive(Debug)]
pub(crate) struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl From<lexopt::Error> for UsageError {
    fn from(error: lexopt::Error) -> Self {
        Self(error.to_string())
    }
}

impl Options {
    /// Reads arguments as a command line has them after the program's name.
    pub(crate) fn from_arguments<I>(arguments: I) -> Result<Asked, UsageError>
    where
        I: IntoIterator<IntoIter: 'static, Item: Into<OsString>>,
    {
        let now_s = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map_err(|_| UsageError("the clock stands before 1970".to_owned()))?
            .as_secs();
        let now_s = u32::try_from(now_s)
            .map_err(|_| UsageError("the clock stands after 2106".to_owned()))?;
        parse(Parser::from_args(arguments), now_s)
    }

    /// The address a stick connects from; `None` leaves it to the system.
    pub(crate) fn source(&self, stick: u32) -> Option<IpAddr> {
        let number = stick.checked_rem(self.sources)?;
        Some((u32::from(self.first_source) + number).to_be_bytes().into())
    }

    pub(crate) fn target(&self, stick: u32) -> SocketAddr {
        self.targets[stick as usize % self.targets.len()]
    }

    /// How many records an open loop sends.
    pub(crate) fn open_loop_records(&self) -> u64 {
        (self.rate * self.seconds.unwrap_or(0.0)) as u64
    }
}

fn parse(mut parser: Parser, now_s: u32) -> Result<Asked, UsageError> {
    let mut targets = Vec::new();
    let (mut sticks, mut first_serial, mut sources) = (0_u32, 1_800_000_001_u32, 0_u32);
    let mut first_source = Ipv4Addr::new(127, 0, 0, 2);
    let (mut connect_rate, mut rate, mut answer_s) = (2_000.0, 0.0, 11.0);
    let (mut seconds, mut hold_s, mut heartbeat_s) = (None, None, 120.0);
    let (mut until_eof, mut open_loop, mut with_record) = (false, false, true);
    let (mut announce, mut begin_on_input) = (false, false);
    let (mut hours, mut cadence_s, mut end_s) = (None, None, now_s);
    let (mut heartbeats_per_data, mut window) = (1_u8, 1_usize);
    let (mut outage_share, mut resend_share, mut hangup_share) = (0.08, 0.003, 0.001);
    let mut seed = 1_u64;
    let mut acknowledged = None;
    while let Some(argument) = parser.next()? {
        let Arg::Long(name) = argument else {
            return Err(argument.unexpected().into());
        };
        match name {
            "help" => return Ok(Asked::Help),
            "to" => targets.push(target(&parser.value()?)?),
            "sticks" => sticks = parser.value()?.parse()?,
            "first-serial" => first_serial = parser.value()?.parse()?,
            "sources" => sources = parser.value()?.parse()?,
            "first-source" => first_source = parser.value()?.parse()?,
            "connect-rate" => connect_rate = number("connect-rate", &parser.value()?)?,
            "rate" => rate = number("rate", &parser.value()?)?,
            "seconds" => seconds = Some(number("seconds", &parser.value()?)?),
            "until-eof" => until_eof = true,
            "begin-on-input" => begin_on_input = true,
            "announce" => announce = true,
            "open-loop" => open_loop = true,
            "no-record" => with_record = false,
            "hold" => hold_s = Some(number("hold", &parser.value()?)?),
            "hours" => hours = Some(number("hours", &parser.value()?)?),
            "cadence-seconds" => cadence_s = Some(parser.value()?.parse::<u32>()?.max(1)),
            "end" => end_s = parser.value()?.parse()?,
            "heartbeats-per-data" => heartbeats_per_data = parser.value()?.parse()?,
            "heartbeat-seconds" => heartbeat_s = number("heartbeat-seconds", &parser.value()?)?,
            "window" => window = parser.value()?.parse()?,
            "answer-seconds" => answer_s = number("answer-seconds", &parser.value()?)?,
            "outages" => outage_share = share("outages", &parser.value()?)?,
            "resends" => resend_share = share("resends", &parser.value()?)?,
            "hangups" => hangup_share = share("hangups", &parser.value()?)?,
            "seed" => seed = parser.value()?.parse()?,
            "acknowledged" => acknowledged = Some((parser.value()?.into(), Form::Lines)),
            "acknowledged-keys" => acknowledged = Some((parser.value()?.into(), Form::Keys)),
            other => return Err(UsageError(format!("unknown option --{other}, see --help"))),
        }
    }
    let wrong = |sentence: &str| Err(UsageError(sentence.to_owned()));
    if targets.is_empty() || sticks == 0 {
        return wrong("--to HOST:PORT and --sticks N are needed, see --help");
    }
    if first_serial.checked_add(sticks).is_none() {
        return wrong("--first-serial is too large: serial numbers have 32 bits");
    }
    let last_source = u32::from(first_source).checked_add(sources);
    if sources > 0
        && !(first_source.is_loopback()
            && last_source.is_some_and(|last| Ipv4Addr::from(last).is_loopback())
            && targets.iter().all(SocketAddr::is_ipv4))
    {
        return wrong("--sources and --first-source must stay within 127.0.0.0/8, as --to must");
    }
    let mode = match (hold_s, open_loop, seconds) {
        (Some(_), true, _) => return wrong("--hold and --open-loop exclude each other"),
        (Some(hold_s), false, _) => Mode::Hold {
            hold_s,
            heartbeat_s,
            with_record,
        },
        (None, true, _) => Mode::OpenLoop,
        (None, false, Some(seconds)) if hours.is_none() => Mode::ClosedLoop { seconds },
        (None, false, _) => Mode::Day,
    };
    if !(1..=WINDOW_MAX).contains(&window) {
        return wrong("--window: expected 1 to 128 records");
    }
    if !with_record && hold_s.is_none() {
        return wrong("--no-record needs --hold");
    }
    if mode == Mode::OpenLoop && !(rate > 0.0 && seconds.is_some_and(|seconds| seconds > 0.0)) {
        return wrong("--open-loop needs --rate and --seconds");
    }
    let is_loop = matches!(mode, Mode::OpenLoop | Mode::ClosedLoop { .. });
    if is_loop && !seconds.is_some_and(|seconds| seconds > 0.0) {
        return wrong("--seconds: expected more than 0");
    }
    if (announce || begin_on_input) && !is_loop {
        return wrong(
            "--announce and --begin-on-input need a loop: --open-loop, or --seconds without --hours",
        );
    }
    let fitting_s = |records: f64| (DAY_S / records).clamp(1.0, 300.0) as u32;
    let (records, cadence_s) = match mode {
        Mode::Hold { .. } => (1.0, cadence_s.unwrap_or(300)),
        Mode::Day => {
            let cadence_s = cadence_s.unwrap_or(300);
            (
                hours.unwrap_or(24.0) * 3_600.0 / f64::from(cadence_s),
                cadence_s,
            )
        }
        Mode::ClosedLoop { seconds } => {
            // The loop ends early when a stick has nothing left after all.
            let per_stick = ANSWERS_PER_S * window as f64;
            let per_s = per_stick.min(RECORDS_PER_S / f64::from(sticks));
            let records = (per_s * seconds).ceil().min(f64::from(RECORDS_MAX));
            (records, cadence_s.unwrap_or(fitting_s(records)))
        }
        Mode::OpenLoop => {
            let records = (rate * seconds.unwrap_or(0.0) / f64::from(sticks)).ceil();
            (records, cadence_s.unwrap_or(fitting_s(records)))
        }
    };
    if !(1.0..=f64::from(RECORDS_MAX)).contains(&records) {
        return wrong("the time asked for gives no record at all per stick, or over a million");
    }
    let records = records as u32;
    let Some(start_s) = records
        .checked_mul(cadence_s)
        .and_then(|span_s| end_s.checked_sub(span_s))
    else {
        return wrong("the simulated span would begin before 1970");
    };
    let is_eventful = matches!(mode, Mode::Day | Mode::ClosedLoop { .. });
    let if_eventful = |share: f64| if is_eventful { share } else { 0.0 };
    let life = Life {
        day: Day {
            start_s,
            cadence_s,
            records,
            seed,
            outage_share: if_eventful(outage_share),
        },
        heartbeats_per_data: if is_eventful { heartbeats_per_data } else { 0 },
        resend_share: if_eventful(resend_share),
        hangup_share: if_eventful(hangup_share),
        window,
    };
    Ok(Asked::Run(Box::new(Options {
        mode,
        targets,
        sticks,
        first_serial,
        sources,
        first_source,
        connect_rate,
        rate,
        seconds,
        until_eof,
        begin_on_input,
        announce,
        answer_s,
        acknowledged,
        life,
    })))
}

/// Imaginary sticks must never reach a server that real people look at.
fn target(value: &OsString) -> Result<SocketAddr, UsageError> {
    let target: SocketAddr = value.parse()?;
    if target.ip().is_loopback() {
        Ok(target)
    } else {
        Err(UsageError(format!(
            "--to {target}: only a server on this machine may be loaded, as 127.0.0.1:10000"
        )))
    }
}

fn number(name: &str, value: &OsString) -> Result<f64, UsageError> {
    let number: f64 = value.parse()?;
    if number.is_finite() && number >= 0.0 {
        Ok(number)
    } else {
        Err(UsageError(format!(
            "--{name}: expected 0 or more, got {number}"
        )))
    }
}

fn share(name: &str, value: &OsString) -> Result<f64, UsageError> {
    let share = number(name, value)?;
    if share <= 1.0 {
        Ok(share)
    } else {
        Err(UsageError(format!(
            "--{name}: expected a share of 0 to 1, got {share}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_S: u32 = 1_780_315_200;

    fn parsed(line: &str) -> Result<Options, String> {
        let parser = Parser::from_args(line.split_whitespace());
        match parse(parser, NOW_S) {
            Ok(Asked::Run(options)) => Ok(*options),
            Ok(Asked::Help) => Err("help".to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn a_day_ends_now_and_has_a_record_every_five_minutes() {
        let options = parsed("--to 127.0.0.1:10000 --sticks 5").unwrap();
        assert_eq!(options.mode, Mode::Day);
        assert_eq!(options.life.day.records, 288);
        assert_eq!(options.life.day.start_s, NOW_S - 86_400);
        assert_eq!(options.source(3), None);
    }

    #[test]
    fn only_this_machine_may_be_loaded() {
        for target in ["192.0.2.1:10000", "0.0.0.0:10000", "[2001:db8::1]:1"] {
            let error = parsed(&format!("--to {target} --sticks 1")).unwrap_err();
            assert!(error.contains("only a server on this machine"), "{error}");
        }
        assert!(parsed("--to [::1]:10000 --sticks 1").is_ok());
    }

    #[test]
    fn sticks_spread_over_sources_and_targets() {
        let line = "--to 127.0.0.1:1 --to 127.0.0.1:2 --sticks 9 --sources 300";
        let options = parsed(&format!("{line} --first-source 127.0.5.0")).unwrap();
        assert_eq!(options.source(0), Some(IpAddr::from([127, 0, 5, 0])));
        assert_eq!(options.source(299), Some(IpAddr::from([127, 0, 6, 43])));
        assert_eq!(options.source(300), options.source(0));
        assert_eq!((options.target(4).port(), options.target(5).port()), (1, 2));
        assert!(parsed(&format!("{line} --first-source 127.255.255.1")).is_err());
        assert!(parsed(&format!("{line} --first-source 10.0.0.1")).is_err());
    }

    #[test]
    fn holding_is_one_record_without_mischief() {
        let options = parsed("--to 127.0.0.1:1 --sticks 9 --hold 30").unwrap();
        assert_eq!(options.life.day.records, 1);
        assert_eq!(options.life.hangup_share, 0.0);
    }

    #[test]
    fn an_open_loop_fits_its_records_into_a_day() {
        let line = "--to 127.0.0.1:1 --sticks 10 --open-loop --rate 1000 --seconds 30";
        let options = parsed(line).unwrap();
        assert_eq!(options.open_loop_records(), 30_000);
        assert_eq!(
            (options.life.day.records, options.life.day.cadence_s),
            (3_000, 28)
        );
        assert!(parsed("--to 127.0.0.1:1 --sticks 10 --open-loop").is_err());
    }

    #[test]
    fn a_closed_loop_has_more_records_than_can_be_answered() {
        let day = |line: &str| {
            let options = parsed(&format!("--to 127.0.0.1:1 {line}")).unwrap();
            assert!(matches!(options.mode, Mode::ClosedLoop { .. }), "{line}");
            (options.life.day.records, options.life.day.cadence_s)
        };
        assert_eq!(day("--sticks 20 --seconds 2"), (10_000, 8));
        assert_eq!(day("--sticks 10000 --seconds 10"), (4_000, 21));
        assert_eq!(day("--sticks 18000 --seconds 0.1"), (23, 300));
        assert_eq!(
            day("--sticks 1 --seconds 60 --window 16 --announce"),
            (1_000_000, 1)
        );
        let with_hours = parsed("--to 127.0.0.1:1 --sticks 1 --seconds 9 --hours 1").unwrap();
        assert_eq!(with_hours.mode, Mode::Day);
    }

    #[test]
    fn nonsense_is_refused() {
        for line in [
            "--sticks 1",
            "--to 127.0.0.1:1",
            "--to 127.0.0.1:1 --sticks 1 --hours 0",
            "--to 127.0.0.1:1 --sticks 1 --rate -1",
            "--to 127.0.0.1:1 --sticks 1 --resends 2",
            "--to 127.0.0.1:1 --sticks 1 --frobnicate",
            "--to 127.0.0.1:1 --sticks 1 --seconds 0",
            "--to 127.0.0.1:1 --sticks 1 --announce",
            "--to 127.0.0.1:1 --sticks 1 --hold 9 --begin-on-input",
            "--to 127.0.0.1:1 --sticks 1 --hours 1 --seconds 9 --announce",
            "--to 127.0.0.1:1 --sticks 1 --window 0",
            "--to 127.0.0.1:1 --sticks 1 --window 129",
            "--to 127.0.0.1:1 --sticks 2 --first-serial 4294967295",
            "--to 127.0.0.1:1 --sticks 1 extra",
        ] {
            assert!(parsed(line).is_err(), "{line}");
        }
        assert_eq!(parsed("--help").unwrap_err(), "help");
    }
}
