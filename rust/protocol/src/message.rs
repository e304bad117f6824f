//! What is a frame about, apart from measurements?
//!
//! This is where a household's network disappears: the SSID, the MAC and the local address of
//! handshakes and link events are never read, so nothing behind this line can hold them.

use crate::frame::Frame;
use crate::v4::{self, Content};
use crate::v5;

#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// A measurement: [`crate::reading::read`] takes the frame.
    Data,
    Session(SessionEvent),
    Heartbeat,
    /// A V4 text line such as "DATA SEND IS OK".
    Text,
    /// An answer to somebody else's command, or a type not known.
    Other,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SessionKind {
    #[default]
    Handshake,
    /// The stick's network came or went.
    Link,
    /// A stored event or the stick's firmware.
    Report,
    /// V4: the stick's firmware.
    Info,
}

impl SessionKind {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Link => "link",
            Self::Report => "report",
            Self::Info => "info",
        }
    }
}

/// What a stick says of itself.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SessionEvent {
    pub kind: SessionKind,
    /// Seconds since the stick was powered on.
    pub uptime_s: Option<u32>,
    pub firmware: Option<String>,
    pub upload_period_s: Option<u32>,
    pub sample_period_s: Option<u32>,
    pub heartbeat_s: Option<u32>,
    pub signal_pct: Option<u8>,
    /// The code of a link event, or the kind of a report.
    pub code: Option<u16>,
    pub sensor_type: Option<u16>,
}

pub fn classify(frame: &Frame<'_>) -> Message {
    match frame {
        Frame::V5(frame) => match frame.kind() {
            v5::DATA | v5::DATA_UNANSWERED => Message::Data,
            v5::HANDSHAKE => Message::Session(handshake(frame.payload())),
            v5::LINK_EVENT => Message::Session(link_event(frame.payload())),
            v5::REPORT => Message::Session(report(frame.payload())),
            v5::HEARTBEAT => Message::Heartbeat,
            _ => Message::Other,
        },
        Frame::V4(frame) => match frame.content() {
            Content::Data => Message::Data,
            Content::Info => Message::Session(info(frame)),
            Content::Text => Message::Text,
            Content::Other => Message::Other,
        },
    }
}

fn handshake(payload: &[u8]) -> SessionEvent {
    SessionEvent {
        kind: SessionKind::Handshake,
        uptime_s: u32_at(payload, 5),
        firmware: payload.get(19..59).and_then(text),
        upload_period_s: payload.get(13).map(|&minutes| u32::from(minutes) * 60),
        sample_period_s: payload.get(14).map(|&seconds| u32::from(seconds)),
        heartbeat_s: payload.get(15).map(|&seconds| u32::from(seconds)),
        signal_pct: payload.get(17).copied().filter(|&percent| percent <= 100),
        code: None,
        sensor_type: u16_at(payload, 84),
    }
}

fn link_event(payload: &[u8]) -> SessionEvent {
    // Deye sticks send another form under this type that carries an inverter serial instead.
    let known = payload.first() == Some(&0x81) && payload.len() >= 47;
    SessionEvent {
        kind: SessionKind::Link,
        uptime_s: u32_at(payload, 5),
        code: u16_at(payload, 13).filter(|_| known),
        signal_pct: payload
            .get(45)
            .copied()
            .filter(|&percent| known && percent <= 100),
        ..SessionEvent::default()
    }
}

fn report(payload: &[u8]) -> SessionEvent {
    /// The report that tells the firmware: build time, then text.
    const FIRMWARE: u8 = 5;
    let kind = payload.get(14).copied();
    SessionEvent {
        kind: SessionKind::Report,
        uptime_s: u32_at(payload, 5),
        code: kind.map(u16::from),
        firmware: payload
            .get(20..)
            .filter(|_| kind == Some(FIRMWARE))
            .and_then(|rest| text(&rest[..rest.len().min(40)])),
        ..SessionEvent::default()
    }
}

fn info(frame: &v4::Frame<'_>) -> SessionEvent {
    SessionEvent {
        kind: SessionKind::Info,
        firmware: frame.payload().get(2..).and_then(text),
        ..SessionEvent::default()
    }
}

fn u16_at(payload: &[u8], at: usize) -> Option<u16> {
    payload
        .get(at..)?
        .first_chunk()
        .map(|bytes| u16::from_le_bytes(*bytes))
}

fn u32_at(payload: &[u8], at: usize) -> Option<u32> {
    payload
        .get(at..)?
        .first_chunk()
        .map(|bytes| u32::from_le_bytes(*bytes))
}

/// The printable ASCII at the beginning; `None` when there is none.
fn text(raw: &[u8]) -> Option<String> {
    let printable = raw
        .iter()
        .take_while(|byte| byte.is_ascii_graphic() || **byte == b' ');
    let text: String = printable.map(|&byte| char::from(byte)).collect();
    Some(text.trim_end().to_owned()).filter(|text| !text.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Step, step};

    fn classified(bytes: &[u8]) -> Message {
        let Step::Frame { frame, .. } = step(bytes) else {
            panic!("no frame")
        };
        classify(&frame)
    }

    fn handshake_payload() -> Vec<u8> {
        let mut payload = vec![0; 86];
        payload[5] = 16;
        payload[13..18].copy_from_slice(&[5, 60, 120, 1, 90]);
        payload[19..33].copy_from_slice(b"MW_08_0501_1.5");
        payload[59..65].copy_from_slice(b"\x02SECRE");
        payload[65..74].copy_from_slice(b"192.0.2.9");
        payload[84..86].copy_from_slice(&[1, 5]);
        payload
    }

    #[test]
    fn a_handshake_tells_periods_and_firmware_and_no_address() {
        let bytes = v5::encode(v5::HANDSHAKE, 0, 1, 7, &handshake_payload());
        let Message::Session(event) = classified(&bytes) else {
            panic!()
        };
        assert_eq!(event.firmware.as_deref(), Some("MW_08_0501_1.5"));
        assert_eq!(
            (event.upload_period_s, event.sample_period_s),
            (Some(300), Some(60))
        );
        assert_eq!((event.heartbeat_s, event.signal_pct), (Some(120), Some(90)));
        assert_eq!(
            (event.uptime_s, event.sensor_type),
            (Some(16), Some(0x0501))
        );
        let shown = format!("{event:?}");
        assert!(!shown.contains("192.0.2") && !shown.contains("SECRE"));
    }

    #[test]
    fn a_firmware_text_that_fills_its_field_ends_before_the_address_behind_it() {
        let mut payload = handshake_payload();
        payload[19..59].fill(b'F');
        payload[59] = b'M';
        let bytes = v5::encode(v5::HANDSHAKE, 0, 1, 7, &payload);
        let Message::Session(event) = classified(&bytes) else {
            panic!()
        };
        assert_eq!(event.firmware, Some("F".repeat(40)));
    }

    #[test]
    fn a_report_tells_firmware_only_in_the_form_that_has_it() {
        let mut payload = vec![0; 60];
        payload[..2].copy_from_slice(&[1, 9]);
        payload[13..16].copy_from_slice(&[1, 5, 44]);
        payload[20..35].copy_from_slice(b"MW_08_0501_1.58");
        let report = |payload: &[u8]| {
            let bytes = v5::encode(v5::REPORT, 1, 4, 7, payload);
            let Message::Session(event) = classified(&bytes) else {
                panic!()
            };
            (event.kind, event.code, event.firmware)
        };
        let firmware = Some("MW_08_0501_1.58".to_owned());
        assert_eq!(report(&payload), (SessionKind::Report, Some(5), firmware));
        payload[14] = 1;
        assert_eq!(report(&payload), (SessionKind::Report, Some(1), None));
        payload[14] = 5;
        payload[16..].fill(0xFF);
        assert_eq!(report(&payload), (SessionKind::Report, Some(5), None));
    }

    #[test]
    fn a_link_event_keeps_signal_and_code_but_not_the_network_name() {
        let mut payload = vec![0; 47];
        payload[0] = 0x81;
        payload[13] = 0x40;
        payload[15..22].copy_from_slice(b"MY-HOME");
        payload[45] = 77;
        let bytes = v5::encode(v5::LINK_EVENT, 0, 1, 7, &payload);
        let Message::Session(event) = classified(&bytes) else {
            panic!()
        };
        assert_eq!(
            (event.kind, event.code, event.signal_pct),
            (SessionKind::Link, Some(0x40), Some(77))
        );
        assert!(!format!("{event:?}").contains("HOME"));
    }

    #[test]
    fn short_payloads_give_what_they_have() {
        for kind in [v5::HANDSHAKE, v5::LINK_EVENT, v5::REPORT] {
            for length in 0..40 {
                let bytes = v5::encode(kind, 0, 1, 7, &vec![0xFF; length]);
                assert!(matches!(classified(&bytes), Message::Session(_)));
            }
        }
    }

    #[test]
    fn v4_info_and_text_are_told_apart() {
        let info = v4::encode([0x51, 0xB1], 7, b"\x80\x01ME-1-V1.0\x0a\x00");
        let Message::Session(event) = classified(&info) else {
            panic!()
        };
        assert_eq!(event.firmware.as_deref(), Some("ME-1-V1.0"));
        assert_eq!(
            classified(&v4::encode([0x51, 0xF0], 7, b"DATA SEND IS OK\r\n")),
            Message::Text
        );
    }
}
