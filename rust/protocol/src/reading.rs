//! What does a data frame say: which inverter, when, how much?
//!
//! A value outside what a rooftop inverter can show becomes absent, never the row. A time outside
//! the window the caller gives is not repaired: the frame is for the quarantine.

use crate::columns::{Counter, Measure};
use crate::frame::Frame;
use crate::layouts::{self, ClockAt, Column, Found, Layout, Raw, StatusAt};
pub use crate::text::Text;
use crate::v4::Content;
use crate::v5;
use crate::zone::{ClockReading, Zone};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    V5,
    V4,
}

impl Protocol {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V5 => "v5",
            Self::V4 => "v4",
        }
    }
}

/// Whose clock dated a reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TimeSource {
    /// The stick's, which the cloud's answers set.
    Stick,
    /// The inverter's wall clock, read in the configured zone.
    Inverter,
    /// Nobody's: the moment of arrival.
    Received,
}

impl TimeSource {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stick => "stick",
            Self::Inverter => "inverter",
            Self::Received => "received",
        }
    }
}

/// Why a data frame has no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Quarantine {
    /// No layout for its sensor type.
    UnknownSensor,
    /// A known sensor type with a length that no layout of it describes.
    ShortPayload,
    /// The inverter's serial number is empty or no printable text.
    BadSerial,
    /// Its time is outside the window.
    TimeImplausible,
    /// A stored record that nothing dates: arrival says nothing about it.
    TimeUnknown,
}

impl Quarantine {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::UnknownSensor => "unknown_sensor",
            Self::ShortPayload => "short_payload",
            Self::BadSerial => "bad_serial",
            Self::TimeImplausible => "time_implausible",
            Self::TimeUnknown => "time_unknown",
        }
    }
}

/// What a frame cannot know.
#[derive(Debug, Clone, Copy)]
pub struct Context<'a> {
    /// The zone of the inverters' wall clocks.
    pub zone: &'a Zone,
    pub received_at_us: i64,
    /// Samples before this are implausible.
    pub oldest_us: i64,
    /// Samples later than this after their arrival are implausible.
    pub ahead_us: i64,
}

/// One measurement. Times in microseconds since 1970 UTC, values in the units of the table.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    pub ts_us: i64,
    pub received_at_us: i64,
    pub time_source: TimeSource,
    pub inverter_sn: Text<16>,
    pub logger_sn: u32,
    pub protocol: Protocol,
    pub sensor_type: u16,
    /// Stored by the stick while nobody answered.
    pub historic: bool,
    pub record_no: Option<u32>,
    /// Seconds since the stick was powered on.
    pub uptime_s: Option<u32>,
    /// The register slot of the only live phase of a single-phase inverter.
    pub phase_slot: Option<u8>,
    /// SunSpec `St`.
    pub status: Option<u8>,
    pub status_vendor: Option<u16>,
    /// The fault words as sent, in hexadecimal.
    pub fault_vendor: Option<Text<24>>,
    /// Microseconds since 1970-01-01 00:00 of the inverter's own wall clock.
    pub inverter_clock_us: Option<i64>,
    /// By [`Measure`]; absent is NaN.
    pub measures: [f32; Measure::COUNT],
    /// By [`Counter`]; absent is [`Counter::ABSENT`].
    pub counters: [i64; Counter::COUNT],
}

/// Bit of the frame type that says "stored record".
const HISTORIC: u8 = 0x80;
/// Below this a phase is not connected; stray voltages of open inputs stay under it.
const LIVE_VOLTS: f32 = 50.0;
/// The largest power that is believed: a big roof, and room for the house behind a meter.
const WATTS_MAX: i64 = 500_000;
/// The same power for a whole day.
const DAY_WH_MAX: i64 = 24 * WATTS_MAX;
/// The same power for fifty years, which no inverter lives.
const LIFE_WH_MAX: i64 = 50 * 366 * DAY_WH_MAX;

/// The sensor type of a data frame, which chooses its layout; `None` for any other frame.
pub fn sensor_type(frame: &Frame<'_>) -> Option<u16> {
    record(frame)?
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

/// Where V5 sticks put the inverter's serial number, whatever the sensor type: offset and length.
const V5_SERIAL: (usize, usize) = (21, 16);

/// The serial numbers that a data frame carries for its inverter, also where no layout describes it:
/// what [`read`] would take, and in V5 what stands in the usual place. None for any other frame.
pub fn inverter_serials(frame: &Frame<'_>) -> impl Iterator<Item = Text<16>> + use<> {
    let payload = payload(frame);
    let sensor_type = sensor_type(frame);
    let of_layout = sensor_type.and_then(|sensor_type| {
        match layouts::find(frame.protocol(), sensor_type, payload.len()) {
            Found::Layout(layout) => serial(layout, payload).ok(),
            Found::OtherLength | Found::Unknown => None,
        }
    });
    let (at, bytes) = V5_SERIAL;
    let usual = sensor_type
        .filter(|_| frame.protocol() == Protocol::V5)
        .and_then(|_| Text::from_padded(payload.get(at..at + bytes)?))
        .filter(|serial| of_layout != Some(*serial));
    of_layout.into_iter().chain(usual)
}

/// The bytes that are equal in a resend of a data frame: everything but the frame type, which turns
/// from live to stored, and the envelope's counters. `None` for any other frame, and for a payload
/// without content.
pub fn resend_key<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    record(frame).filter(|record| !record.is_empty())
}

/// A data frame's payload behind the frame type.
fn record<'a>(frame: &Frame<'a>) -> Option<&'a [u8]> {
    let is_data = match frame {
        Frame::V5(frame) => matches!(frame.kind(), v5::DATA | v5::DATA_UNANSWERED),
        Frame::V4(frame) => frame.content() == Content::Data,
    };
    payload(frame).get(1..).filter(|_| is_data)
}

/// Reads a data frame.
pub fn read(frame: &Frame<'_>, context: &Context<'_>) -> Result<Reading, Quarantine> {
    let payload = payload(frame);
    let sensor_type = sensor_type(frame).ok_or(Quarantine::ShortPayload)?;
    let layout = match layouts::find(frame.protocol(), sensor_type, payload.len()) {
        Found::Layout(layout) => layout,
        Found::OtherLength => return Err(Quarantine::ShortPayload),
        Found::Unknown => return Err(Quarantine::UnknownSensor),
    };
    let historic = frame.protocol() == Protocol::V5 && payload[0] & HISTORIC != 0;
    let clock = layout
        .clock
        .and_then(|clock| clock_reading(layout, clock, payload));
    let (ts_us, time_source) = sample_time(layout, payload, clock, historic, context)?;
    if ts_us < context.oldest_us || ts_us > context.received_at_us.saturating_add(context.ahead_us)
    {
        return Err(Quarantine::TimeImplausible);
    }
    let mut reading = Reading {
        ts_us,
        received_at_us: context.received_at_us,
        time_source,
        inverter_sn: serial(layout, payload)?,
        logger_sn: frame.logger_sn(),
        protocol: frame.protocol(),
        sensor_type,
        historic,
        record_no: header(layout, payload, 17),
        uptime_s: header(layout, payload, 7),
        phase_slot: None,
        status: layout
            .status
            .and_then(|status| sunspec_status(layout, status, payload)),
        status_vendor: layout
            .status
            .and_then(|status| word(status.raw, payload, layout.at(status.vendor_at))),
        fault_vendor: layout
            .faults
            .and_then(|(at, bytes)| Text::hex(payload.get(layout.at(at)..layout.at(at + bytes))?)),
        inverter_clock_us: clock.and_then(ClockReading::wall_us),
        measures: [f32::NAN; Measure::COUNT],
        counters: [Counter::ABSENT; Counter::COUNT],
    };
    for field in layout.fields.iter().copied().flatten() {
        let Some(raw) = field.raw.read(payload, layout.at(field.at)) else {
            continue;
        };
        match field.column {
            Column::Measure { measure, per } => {
                // Wire numbers have at most 32 bits: exact in a float64.
                let value = (raw as f64 / per) as f32;
                if is_plausible(measure, value) {
                    reading.measures[measure as usize] = value;
                }
            }
            Column::Counter { counter, wh } => {
                let value = raw * wh;
                if (0..=most_wh(counter)).contains(&value) {
                    reading.counters[counter as usize] = value;
                }
            }
        }
    }
    assign_phase(&mut reading);
    Ok(reading)
}

pub(crate) fn payload<'a>(frame: &Frame<'a>) -> &'a [u8] {
    match frame {
        Frame::V5(frame) => frame.payload(),
        Frame::V4(frame) => frame.payload(),
    }
}

/// Can a rooftop system, or the house behind its meter, show this, in the column's unit?
/// (docs/protocol.md, "plausible values").
fn is_plausible(measure: Measure, value: f32) -> bool {
    use Measure::*;
    const WATTS: f32 = WATTS_MAX as f32;
    let range = match measure {
        AcPower | AcApparentPower | DcPower => 0.0..=WATTS,
        AcReactivePower | BatteryPower | GridPower | LoadPower => -WATTS..=WATTS,
        PowerFactor => -1.0..=1.0,
        AcVoltageL1 | AcVoltageL2 | AcVoltageL3 => 0.0..=320.0,
        AcCurrentL1 | AcCurrentL2 | AcCurrentL3 => 0.0..=200.0,
        // Zero is what an inverter without a grid shows; nothing between is a grid.
        AcFrequency if value == 0.0 => return true,
        AcFrequency => 40.0..=65.0,
        DcVoltageMppt1 | DcVoltageMppt2 | DcVoltageMppt3 | DcVoltageMppt4 | DcBusVoltage => {
            0.0..=1100.0
        }
        DcCurrentMppt1 | DcCurrentMppt2 | DcCurrentMppt3 | DcCurrentMppt4 => 0.0..=60.0,
        TempInverter => -40.0..=110.0,
        PowerLimitPct => 0.0..=200.0,
        BatterySocPct => 0.0..=100.0,
    };
    range.contains(&value)
}

/// The most that the counter can have counted at [`WATTS_MAX`].
fn most_wh(counter: Counter) -> i64 {
    use Counter::*;
    match counter {
        EnergyTodayWh | EnergyYesterdayWh => DAY_WH_MAX,
        EnergyMonthWh | EnergyLastMonthWh => 31 * DAY_WH_MAX,
        EnergyYearWh | EnergyLastYearWh => 366 * DAY_WH_MAX,
        EnergyTotalWh | GridEnergyTotalWh => LIFE_WH_MAX,
    }
}

fn sample_time(
    layout: &Layout,
    payload: &[u8],
    clock: Option<ClockReading>,
    historic: bool,
    context: &Context<'_>,
) -> Result<(i64, TimeSource), Quarantine> {
    if let Some(unix_s) = stick_time(layout, payload) {
        return Ok((unix_s * 1_000_000, TimeSource::Stick));
    }
    // A sample was taken before it arrived; a clock may run ahead by as much as is allowed.
    let not_after_us = context.received_at_us.saturating_add(context.ahead_us);
    if let Some(ts_us) = clock.and_then(|clock| context.zone.resolve(clock, not_after_us)) {
        return Ok((ts_us, TimeSource::Inverter));
    }
    if historic {
        return Err(Quarantine::TimeUnknown);
    }
    Ok((context.received_at_us, TimeSource::Received))
}

/// Working time plus offset; an offset of zero says that the stick had no clock yet.
fn stick_time(layout: &Layout, payload: &[u8]) -> Option<i64> {
    let working_time = header(layout, payload, 3)?;
    let offset = header(layout, payload, 11)?;
    (offset != 0).then(|| i64::from(working_time) + i64::from(offset))
}

/// A number of the record's header, where the layout has one.
fn header(layout: &Layout, payload: &[u8], at: usize) -> Option<u32> {
    if !layout.stick_clock {
        return None;
    }
    payload
        .get(layout.at(at)..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

fn serial(layout: &Layout, payload: &[u8]) -> Result<Text<16>, Quarantine> {
    let (at, bytes) = layout.serial;
    payload
        .get(layout.at(at)..layout.at(at + bytes))
        .and_then(Text::from_padded)
        .ok_or(Quarantine::BadSerial)
}

pub(crate) fn clock_reading(
    layout: &Layout,
    clock: ClockAt,
    payload: &[u8],
) -> Option<ClockReading> {
    let width = if clock.raw == Raw::U8 { 1 } else { 2 };
    let part =
        |n: usize| -> Option<u16> { word(clock.raw, payload, layout.at(clock.at + n * width)) };
    let small = |n: usize| -> Option<u8> { u8::try_from(part(n)?).ok() };
    // A clock that was never set shows no month.
    ClockReading::new(
        part(0)?,
        small(1)?,
        small(2)?,
        small(3)?,
        small(4)?,
        small(5)?,
    )
}

fn sunspec_status(layout: &Layout, status: StatusAt, payload: &[u8]) -> Option<u8> {
    let value = word(status.raw, payload, layout.at(status.at))?;
    status
        .map
        .iter()
        .find(|(known, _)| *known == value)
        .map(|(_, state)| *state)
}

fn word(raw: Raw, payload: &[u8], at: usize) -> Option<u16> {
    u16::try_from(raw.read(payload, at)?).ok()
}

/// A single-phase inverter fills one of three slots, most often the third. It becomes phase L1 and
/// the empty slots become absent; with several live phases, or none, all stay as they are.
fn assign_phase(reading: &mut Reading) {
    const VOLTAGES: [Measure; 3] = [
        Measure::AcVoltageL1,
        Measure::AcVoltageL2,
        Measure::AcVoltageL3,
    ];
    const CURRENTS: [Measure; 3] = [
        Measure::AcCurrentL1,
        Measure::AcCurrentL2,
        Measure::AcCurrentL3,
    ];
    let mut live = (0..3).filter(|&slot| reading.measures[VOLTAGES[slot] as usize] > LIVE_VOLTS);
    let (Some(slot), None) = (live.next(), live.next()) else {
        return;
    };
    for columns in [VOLTAGES, CURRENTS] {
        let value = reading.measures[columns[slot] as usize];
        for column in columns {
            reading.measures[column as usize] = f32::NAN;
        }
        reading.measures[columns[0] as usize] = value;
    }
    reading.phase_slot = u8::try_from(slot + 1).ok();
}
