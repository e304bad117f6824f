//! What does one stick do next? A state machine without socket or clock.
//!
//! It keeps the real sticks' rules: a handshake first and every three hours, one frame outstanding
//! (or, where a load wants bursts, a window of records), the backlog newest first after a live record
//! was accepted, three tries, then a new connection.
//! And it does what a network does to sticks: answers get lost, connections break, households are
//! offline for hours. Who carries the bytes, and when, is [`crate::engine`].

use std::collections::VecDeque;

use crate::day::{Day, Draw};
use crate::frames::{self, Envelope};

/// A stick says hello again about every three hours.
const HANDSHAKE_AGAIN_S: u32 = 10_740;
/// After this many unanswered tries a stick drops the connection.
const TRIES_MAX: u8 = 3;

/// How the whole fleet lives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Life {
    pub(crate) day: Day,
    pub(crate) heartbeats_per_data: u8,
    /// Share of records that are sent twice, as if their answer had been lost.
    pub(crate) resend_share: f64,
    /// Share of records after which, and as many again during which, the connection breaks.
    pub(crate) hangup_share: f64,
    /// Records that a stick sends at once when it has so many; 1 is what real sticks do.
    pub(crate) window: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Handshake,
    Live,
    Historic,
    Heartbeat,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] =
        [Self::Handshake, Self::Live, Self::Historic, Self::Heartbeat];

    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Handshake => "handshake",
            Self::Live => "live",
            Self::Historic => "historic",
            Self::Heartbeat => "heartbeat",
        }
    }

    /// The type byte of its frame, and the byte that the answer repeats.
    fn bytes(self) -> (u8, u8) {
        match self {
            Self::Handshake => (frames::HANDSHAKE, 0x02),
            Self::Live => (frames::DATA, frames::LIVE),
            Self::Historic => (frames::DATA, frames::HISTORIC),
            Self::Heartbeat => (frames::HEARTBEAT, 0),
        }
    }
}

/// A frame whose bytes were appended to what goes in one write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) kind: Kind,
    /// The same record went before and was answered.
    pub(crate) is_resend: bool,
    /// The connection breaks before the answer is here.
    pub(crate) cut: bool,
}

/// What a stick wants to happen now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    Connect,
    Send(Sent),
    HangUp,
    /// Offline: a record was stored instead of sent.
    Store,
    /// Nothing until more records are due.
    Rest,
}

/// What an answer confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Confirmed {
    pub(crate) kind: Kind,
    /// The record that is confirmed for the first time.
    pub(crate) record: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Outstanding {
    kind: Kind,
    record: u32,
    is_resend: bool,
    tries: u8,
    logger_counter: u8,
}

impl Outstanding {
    fn is_record(self) -> bool {
        matches!(self.kind, Kind::Live | Kind::Historic)
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Stick {
    pub(crate) logger_sn: u32,
    is_up: bool,
    /// The record at which the current connection said hello.
    greeted: Option<u32>,
    live_accepted: bool,
    next_record: u32,
    /// Records before this one exist; the others are not measured yet.
    due: u32,
    backlog: Vec<u32>,
    heartbeats_left: u8,
    /// In the order in which they went and in which their answers come.
    outstanding: VecDeque<Outstanding>,
    /// Confirmed records that are sent once more.
    again: Vec<(Kind, u32)>,
    hang_up_next: bool,
    server_counter: u8,
    logger_counter: u8,
}

impl Stick {
    pub(crate) fn new(logger_sn: u32) -> Self {
        Self {
            logger_sn,
            is_up: false,
            greeted: None,
            live_accepted: false,
            next_record: 0,
            due: 0,
            backlog: Vec::new(),
            heartbeats_left: 0,
            outstanding: VecDeque::new(),
            again: Vec::new(),
            hang_up_next: false,
            server_counter: 0,
            logger_counter: 0,
        }
    }

    /// More records are measured: those before `due`.
    pub(crate) fn measure(&mut self, due: u32) {
        self.due = due;
    }

    pub(crate) fn measured(&self) -> u32 {
        self.due
    }

    /// Nothing is measured any more: records that were not taken up never will be.
    pub(crate) fn measure_no_more(&mut self) {
        self.due = self.due.min(self.next_record);
    }

    /// An idle stick shows that it is there.
    pub(crate) fn beat(&mut self) {
        self.heartbeats_left = self.heartbeats_left.max(1);
    }

    /// Nothing is owed to the server of what was measured so far.
    pub(crate) fn has_delivered(&self) -> bool {
        self.next_record >= self.due
            && self.backlog.is_empty()
            && self.outstanding.is_empty()
            && self.again.is_empty()
    }

    pub(crate) fn is_answered(&self) -> bool {
        self.outstanding.is_empty()
    }

    /// Records that are on their way: whether the server has them, nobody knows.
    pub(crate) fn in_doubt(&self) -> usize {
        let records = self.outstanding.iter().filter(|sent| sent.is_record());
        records.count()
    }

    pub(crate) fn connected(&mut self) {
        self.is_up = true;
    }

    /// Forgets the connection: records on their way become stored ones.
    pub(crate) fn link_lost(&mut self) {
        self.is_up = false;
        self.greeted = None;
        self.live_accepted = false;
        self.hang_up_next = false;
        for lost in self.outstanding.drain(..).filter(|sent| sent.is_record()) {
            if lost.is_resend {
                self.again.push((Kind::Historic, lost.record));
            } else {
                self.backlog.push(lost.record);
            }
        }
    }

    pub(crate) fn next(&mut self, life: &Life, out: &mut Vec<u8>) -> Turn {
        debug_assert!(self.outstanding.is_empty(), "all is answered");
        let record = self.next_record;
        let is_offline = self.is_offline(life);
        if !self.is_up {
            if is_offline {
                self.backlog.push(record);
                self.next_record += 1;
                return Turn::Store;
            }
            return Turn::Connect;
        }
        if self.hang_up_next {
            return Turn::HangUp;
        }
        if self.wants_hello(life) {
            return Turn::Send(self.send(life, Kind::Handshake, record, false, out));
        }
        if let Some(sent) = self.send_stored(life, out) {
            return Turn::Send(sent);
        }
        if self.heartbeats_left > 0 {
            self.heartbeats_left -= 1;
            return Turn::Send(self.send(life, Kind::Heartbeat, record, false, out));
        }
        if record >= self.due {
            return Turn::Rest;
        }
        if is_offline {
            return Turn::HangUp;
        }
        self.next_record += 1;
        Turn::Send(self.send(life, Kind::Live, record, false, out))
    }

    /// What goes in the same write as the record before it, as long as the window is open.
    pub(crate) fn more(&mut self, life: &Life, out: &mut Vec<u8>) -> Option<Sent> {
        let is_open = self.outstanding.back().is_some_and(|sent| sent.is_record())
            && self.outstanding.len() < life.window;
        if !is_open || self.wants_hello(life) {
            return None;
        }
        if let Some(sent) = self.send_stored(life, out) {
            return Some(sent);
        }
        let record = self.next_record;
        // A backlog that is left waits for the answer to a live record.
        if record >= self.due || self.is_offline(life) || !self.backlog.is_empty() {
            return None;
        }
        self.next_record += 1;
        Some(self.send(life, Kind::Live, record, false, out))
    }

    fn is_offline(&self, life: &Life) -> bool {
        self.next_record < self.due && life.day.outage(self.logger_sn).contains(&self.next_record)
    }

    fn wants_hello(&self, life: &Life) -> bool {
        let again_after = (HANDSHAKE_AGAIN_S / life.day.cadence_s).max(1);
        self.greeted
            .is_none_or(|greeted| self.next_record >= greeted + again_after)
    }

    fn send_stored(&mut self, life: &Life, out: &mut Vec<u8>) -> Option<Sent> {
        if let Some((kind, record)) = self.again.pop() {
            return Some(self.send(life, kind, record, true, out));
        }
        if self.live_accepted || self.next_record >= self.due {
            let stored = self.backlog.pop()?;
            return Some(self.send(life, Kind::Historic, stored, false, out));
        }
        None
    }

    /// The frame once more, after no answer came; `None` when it is time for a new connection, as
    /// it is at once when several answers are missing.
    pub(crate) fn retry(&mut self, life: &Life, out: &mut Vec<u8>) -> Option<Sent> {
        let last = self.outstanding.pop_back()?;
        if last.tries >= TRIES_MAX || !self.outstanding.is_empty() {
            self.outstanding.push_back(last);
            return None;
        }
        let outstanding = Outstanding {
            tries: last.tries + 1,
            logger_counter: self.count(),
            ..last
        };
        Some(self.sent(life, outstanding, false, out))
    }

    /// Takes the payload and counters of an answer; `None` when it does not fit what is outstanding.
    pub(crate) fn answered(&mut self, life: &Life, answer: &Answer) -> Option<Confirmed> {
        let outstanding = *self.outstanding.front()?;
        let (frame_type, echo) = outstanding.kind.bytes();
        let wanted = Answer {
            kind: frame_type - 0x30,
            logger_sn: self.logger_sn,
            logger_counter: outstanding.logger_counter,
            echo,
            status: 1,
            server_counter: answer.server_counter,
        };
        if *answer != wanted {
            return None;
        }
        self.outstanding.pop_front();
        self.server_counter = answer.server_counter;
        let Outstanding {
            kind,
            record,
            is_resend,
            ..
        } = outstanding;
        let happens =
            |draw, share| !is_resend && life.day.happens(draw, self.logger_sn, record, share);
        match kind {
            Kind::Handshake => self.greeted = Some(record),
            Kind::Heartbeat => {}
            Kind::Live | Kind::Historic => {
                if happens(Draw::Resend, life.resend_share) {
                    self.again.push((kind, record));
                }
                if happens(Draw::Hangup, life.hangup_share) {
                    self.hang_up_next = true;
                }
                if kind == Kind::Live {
                    self.live_accepted = true;
                    self.heartbeats_left = life.heartbeats_per_data;
                }
            }
        }
        Some(Confirmed {
            kind,
            record: (outstanding.is_record() && !is_resend).then_some(record),
        })
    }

    fn send(
        &mut self,
        life: &Life,
        kind: Kind,
        record: u32,
        is_resend: bool,
        out: &mut Vec<u8>,
    ) -> Sent {
        let outstanding = Outstanding {
            kind,
            record,
            is_resend,
            tries: 1,
            logger_counter: self.count(),
        };
        // Only the first way of a record is cut: the second must arrive, or nothing ever would.
        let cut = kind == Kind::Live
            && !is_resend
            && life
                .day
                .happens(Draw::Cut, self.logger_sn, record, life.hangup_share);
        self.sent(life, outstanding, cut, out)
    }

    fn count(&mut self) -> u8 {
        self.logger_counter = self.logger_counter.wrapping_add(1);
        self.logger_counter
    }

    fn sent(
        &mut self,
        life: &Life,
        outstanding: Outstanding,
        cut: bool,
        out: &mut Vec<u8>,
    ) -> Sent {
        self.outstanding.push_back(outstanding);
        let Outstanding {
            kind,
            record,
            is_resend,
            logger_counter,
            ..
        } = outstanding;
        let envelope = Envelope {
            logger_sn: self.logger_sn,
            server_counter: self.server_counter,
            logger_counter,
        };
        let uptime_s = 16 + record * life.day.cadence_s;
        match kind {
            Kind::Handshake => {
                let unix_s = life.day.sampled_s(self.logger_sn, record);
                frames::handshake(envelope, unix_s, uptime_s, out);
            }
            Kind::Heartbeat => frames::heartbeat(envelope, out),
            Kind::Live | Kind::Historic => {
                let sample = life.day.sample(self.logger_sn, record);
                frames::data(envelope, kind.bytes().1, &sample, uptime_s, out);
            }
        }
        Sent {
            kind,
            is_resend,
            cut,
        }
    }
}

/// What a stick looks at in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) kind: u8,
    pub(crate) logger_sn: u32,
    pub(crate) server_counter: u8,
    pub(crate) logger_counter: u8,
    pub(crate) echo: u8,
    pub(crate) status: u8,
}

#[cfg(test)]
mod tests {
    use super::*;
    use autarco_protocol::frame::{Frame, Step, step};
    use autarco_protocol::reply::Reply;
    use std::collections::HashMap;

    const SN: u32 = 1_800_000_001;

    fn calm(records: u32) -> Life {
        Life {
            day: Day {
                start_s: 1_780_315_200,
                cadence_s: 300,
                records,
                seed: 1,
                outage_share: 0.0,
            },
            heartbeats_per_data: 0,
            resend_share: 0.0,
            hangup_share: 0.0,
            window: 1,
        }
    }

    fn measured(life: &Life) -> Stick {
        let mut stick = Stick::new(SN);
        stick.measure(life.day.records);
        stick
    }

    /// The answer of the real server, by its own code.
    fn answer_to(bytes: &[u8]) -> Answer {
        let Step::Frame {
            frame: Frame::V5(frame),
            ..
        } = step(bytes)
        else {
            panic!()
        };
        let answer = Reply::to(&frame).unwrap().encode(1_780_315_200, 0);
        Answer {
            kind: answer[4],
            server_counter: answer[5],
            logger_counter: answer[6],
            logger_sn: frame.logger_sn(),
            echo: answer[11],
            status: answer[12],
        }
    }

    /// A frame with its own bytes.
    #[derive(Debug, Clone, PartialEq, Eq)]
    struct Going {
        sent: Sent,
        bytes: Vec<u8>,
    }

    /// What a stick wants, and the frame it sends, if it does.
    fn turn(stick: &mut Stick, life: &Life) -> (Turn, Option<Going>) {
        let mut bytes = Vec::new();
        let turn = stick.next(life, &mut bytes);
        let going = match turn {
            Turn::Send(sent) => Some(Going { sent, bytes }),
            _ => None,
        };
        (turn, going)
    }

    fn frame(stick: &mut Stick, life: &Life) -> Going {
        turn(stick, life).1.unwrap()
    }

    fn retry(stick: &mut Stick, life: &Life) -> Option<Going> {
        let mut bytes = Vec::new();
        let sent = stick.retry(life, &mut bytes)?;
        Some(Going { sent, bytes })
    }

    /// All that goes in one write; nothing goes after a frame whose connection breaks.
    fn burst(stick: &mut Stick, life: &Life, first: Going) -> Vec<Going> {
        let mut burst = vec![first];
        while !burst[burst.len() - 1].sent.cut {
            let mut bytes = Vec::new();
            match stick.more(life, &mut bytes) {
                Some(sent) => burst.push(Going { sent, bytes }),
                None => break,
            }
        }
        burst
    }

    fn greet(stick: &mut Stick, life: &Life) {
        stick.connected();
        let hello = frame(stick, life);
        assert_eq!(hello.sent.kind, Kind::Handshake);
        stick.answered(life, &answer_to(&hello.bytes)).unwrap();
    }

    /// Lets a stick talk to a server that answers everything, and tells what was sent and confirmed.
    fn whole_life(stick: &mut Stick, life: &Life) -> (Vec<Kind>, HashMap<u32, u32>, u32) {
        let (mut kinds, mut confirmed, mut connects) = (Vec::new(), HashMap::new(), 0);
        for _ in 0..100_000 {
            let (turn, going) = turn(stick, life);
            match turn {
                Turn::Connect => {
                    connects += 1;
                    stick.connected();
                }
                Turn::HangUp => stick.link_lost(),
                Turn::Store => {}
                Turn::Rest => return (kinds, confirmed, connects),
                Turn::Send(_) => {
                    let burst = burst(stick, life, going.unwrap());
                    kinds.extend(burst.iter().map(|going| going.sent.kind));
                    for going in burst {
                        if going.sent.cut {
                            stick.link_lost();
                            break;
                        }
                        let answer = answer_to(&going.bytes);
                        if let Some(record) = stick.answered(life, &answer).unwrap().record {
                            *confirmed.entry(record).or_insert(0) += 1;
                        }
                    }
                }
            }
        }
        panic!("the stick never rests");
    }

    #[test]
    fn a_calm_day_is_handshakes_every_three_hours_and_records() {
        let life = calm(72);
        let mut stick = measured(&life);
        let (kinds, confirmed, connects) = whole_life(&mut stick, &life);
        let count = |kind| kinds.iter().filter(|&&other| other == kind).count();
        assert_eq!(kinds[..2], [Kind::Handshake, Kind::Live]);
        assert_eq!((count(Kind::Handshake), count(Kind::Live)), (3, 72));
        assert_eq!((confirmed.len(), connects), (72, 1));
        assert!(stick.has_delivered());
    }

    #[test]
    fn heartbeats_stand_between_records() {
        let life = Life {
            heartbeats_per_data: 2,
            ..calm(2)
        };
        let (kinds, ..) = whole_life(&mut measured(&life), &life);
        use Kind::*;
        assert_eq!(
            kinds,
            [
                Handshake, Live, Heartbeat, Heartbeat, Live, Heartbeat, Heartbeat
            ]
        );
    }

    #[test]
    fn whatever_happens_every_record_is_confirmed_once() {
        let life = Life {
            day: Day {
                outage_share: 1.0,
                ..calm(288).day
            },
            heartbeats_per_data: 1,
            resend_share: 0.1,
            hangup_share: 0.1,
            ..calm(288)
        };
        for (logger_sn, window) in (SN..SN + 50).zip([1, 2, 16].into_iter().cycle()) {
            let life = Life { window, ..life };
            let mut stick = Stick::new(logger_sn);
            stick.measure(288);
            let (kinds, confirmed, connects) = whole_life(&mut stick, &life);
            assert_eq!(confirmed.len(), 288);
            assert!(confirmed.values().all(|&times| times == 1));
            let frames = kinds
                .iter()
                .filter(|kind| matches!(kind, Kind::Live | Kind::Historic));
            assert!(frames.count() > 288, "some went twice");
            assert!(connects > 20 && kinds.contains(&Kind::Historic));
        }
    }

    #[test]
    fn what_was_stored_comes_newest_first_after_the_first_live_record() {
        let life = calm(5);
        let mut stick = measured(&life);
        stick.backlog = vec![0, 1, 2];
        stick.next_record = 3;
        let mut records = Vec::new();
        loop {
            let (turn, going) = turn(&mut stick, &life);
            match turn {
                Turn::Connect => stick.connected(),
                Turn::Send(_) => {
                    let answer = answer_to(&going.unwrap().bytes);
                    let confirmed = stick.answered(&life, &answer).unwrap();
                    records.extend(confirmed.record.map(|record| (confirmed.kind, record)));
                }
                Turn::Rest => break,
                other => panic!("{other:?}"),
            }
        }
        use Kind::*;
        assert_eq!(
            records,
            [
                (Live, 3),
                (Historic, 2),
                (Historic, 1),
                (Historic, 0),
                (Live, 4)
            ]
        );
    }

    #[test]
    fn a_window_lets_records_go_at_once_and_their_answers_come_in_order() {
        let life = Life {
            window: 4,
            ..calm(6)
        };
        let mut stick = measured(&life);
        stick.connected();
        let hello = frame(&mut stick, &life);
        let alone = burst(&mut stick, &life, hello.clone()).len() == 1;
        assert!(alone, "nothing goes with a hello");
        stick.answered(&life, &answer_to(&hello.bytes)).unwrap();
        let first = frame(&mut stick, &life);
        let burst = burst(&mut stick, &life, first);
        assert_eq!((burst.len(), stick.in_doubt()), (4, 4));
        let answers: Vec<Answer> = burst.iter().map(|going| answer_to(&going.bytes)).collect();
        assert_eq!(stick.answered(&life, &answers[1]), None, "out of order");
        for (record, answer) in answers[..3].iter().enumerate() {
            let confirmed = stick.answered(&life, answer).unwrap();
            assert_eq!(confirmed.record, Some(record as u32));
        }
        assert!(!stick.is_answered());
        stick.answered(&life, &answers[3]).unwrap();
        assert!(stick.is_answered() && !stick.has_delivered());
    }

    #[test]
    fn records_of_a_burst_without_answers_are_stored_ones_on_a_new_connection() {
        let life = Life {
            window: 3,
            ..calm(4)
        };
        let mut stick = measured(&life);
        greet(&mut stick, &life);
        let first = frame(&mut stick, &life);
        let burst = burst(&mut stick, &life, first);
        stick.answered(&life, &answer_to(&burst[0].bytes)).unwrap();
        assert_eq!(retry(&mut stick, &life), None, "two answers are missing");
        stick.link_lost();
        assert_eq!((stick.in_doubt(), &stick.backlog), (0, &vec![1, 2]));
        let (kinds, confirmed, _) = whole_life(&mut stick, &life);
        use Kind::*;
        assert_eq!(kinds, [Handshake, Live, Historic, Historic]);
        assert_eq!(confirmed, HashMap::from([(1, 1), (2, 1), (3, 1)]));
    }

    #[test]
    fn what_is_measured_no_more_is_not_owed() {
        let life = calm(6);
        let mut stick = measured(&life);
        greet(&mut stick, &life);
        let first = frame(&mut stick, &life);
        stick.measure_no_more();
        assert!(!stick.has_delivered(), "one is on its way");
        stick.answered(&life, &answer_to(&first.bytes)).unwrap();
        assert!(stick.has_delivered());
    }

    #[test]
    fn a_retry_is_the_same_record_under_a_new_counter_and_the_fourth_is_a_new_connection() {
        let life = calm(1);
        let mut stick = measured(&life);
        assert_eq!(turn(&mut stick, &life).0, Turn::Connect);
        greet(&mut stick, &life);
        let first = frame(&mut stick, &life);
        let second = retry(&mut stick, &life).unwrap();
        assert_eq!(first.bytes[11..244], second.bytes[11..244]);
        assert_eq!(second.bytes[6], first.bytes[6] + 1);
        assert_eq!(
            stick.answered(&life, &answer_to(&first.bytes)),
            None,
            "late"
        );
        assert!(retry(&mut stick, &life).is_some());
        assert_eq!(retry(&mut stick, &life), None);
        assert_eq!(stick.in_doubt(), 1);
        stick.link_lost();
        assert!(!stick.has_delivered());
        greet(&mut stick, &life);
        let stored = frame(&mut stick, &life);
        assert_eq!(stored.sent.kind, Kind::Historic);
        assert_eq!(first.bytes[12..244], stored.bytes[12..244]);
    }

    #[test]
    fn an_answer_to_anything_else_is_not_taken() {
        let life = calm(1);
        let mut stick = measured(&life);
        stick.connected();
        let right = answer_to(&frame(&mut stick, &life).bytes);
        for wrong in [
            Answer {
                kind: 0x12,
                ..right
            },
            Answer {
                logger_sn: 7,
                ..right
            },
            Answer {
                logger_counter: 9,
                ..right
            },
            Answer {
                echo: 0x81,
                ..right
            },
            Answer { status: 0, ..right },
        ] {
            assert_eq!(stick.answered(&life, &wrong), None);
        }
        assert!(stick.answered(&life, &right).is_some());
        assert_eq!(
            stick.answered(&life, &right),
            None,
            "nothing is outstanding"
        );
    }
}
