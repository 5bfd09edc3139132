//! The rule of the log and the nudge, without any I/O.
//!
//! A [`Cursor`] knows where a client stands in one or several sequences (its *tracks*). Fed with
//! the numbers of events, from Redis or from the log alike, it says what is delivered; asked, it
//! says whether the log must be read. Redis lost a message, is away, or carried rubbish, a
//! subscriber fell behind: all of them are one case, "my cursor may be behind", with one answer,
//! "read what is after it".

use std::fmt;

use crate::execution::Seq;

/// What to do with an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is the next one: send it. The cursor has moved onto it.
    Deliver,
    /// It was delivered before: drop it.
    Stale,
    /// Others come before it: drop it, the log has it and them.
    Gap,
}

/// Where a client stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Cursor {
    epoch: u64,
    tracks: Vec<Track>,
    nudged: bool,
    reading: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Track {
    position: Seq,
    /// The highest number seen behind a gap since the last read began.
    beyond: Seq,
}

impl Cursor {
    /// A cursor that has delivered everything up to `positions`, one for each track.
    #[must_use]
    pub fn new(positions: impl IntoIterator<Item = Seq>) -> Self {
        let tracks = positions.into_iter().map(|position| Track {
            position,
            beyond: Seq::ZERO,
        });
        Cursor {
            epoch: 0,
            tracks: tracks.collect(),
            nudged: false,
            reading: false,
        }
    }

    /// A cursor as a client gave it (`3` or `3,0,7`); `None` where it is malformed or not of `tracks`
    /// tracks.
    #[must_use]
    pub fn parse(text: &str, tracks: usize) -> Option<Claimed> {
        let number = |text: &str| {
            // Postgres counts in signed 64 bits.
            let number: i64 = text.parse().ok().filter(|number| *number >= 0)?;
            // As we write it: without a sign or zeros before it.
            (number.to_string() == text).then_some(number.unsigned_abs())
        };
        let position = |part: &str| match part.split_once('.') {
            None => Some((Seq(number(part)?), 0)),
            Some((seq, epoch)) => Some((Seq(number(seq)?), number(epoch).filter(|it| *it > 0)?)),
        };
        let positions = text.split(',').take(tracks + 1).map(position);
        let positions: Vec<_> = positions.collect::<Option<_>>()?;
        (positions.len() == tracks).then_some(Claimed(positions))
    }

    /// Offers the event with this number, from Redis or the log.
    pub fn offer(&mut self, track: usize, seq: Seq) -> Verdict {
        let Some(track) = self.tracks.get_mut(track) else {
            return Verdict::Stale;
        };
        if seq <= track.position {
            Verdict::Stale
        } else if seq == track.position.next() {
            track.position = seq;
            Verdict::Deliver
        } else {
            track.beyond = track.beyond.max(seq);
            Verdict::Gap
        }
    }

    /// The log goes on to this number at least.
    pub fn note(&mut self, track: usize, head: Seq) {
        if let Some(track) = self.tracks.get_mut(track)
            && head > track.position
        {
            track.beyond = track.beyond.max(head);
        }
    }

    /// Something may have been missed: the subscription was lost or restored, a buffer was full, a
    /// message was not an event, or it is time to make sure.
    pub fn nudge(&mut self) {
        self.nudged = true;
    }

    /// Whether something may have been missed, beside what gaps tell of.
    #[must_use]
    pub fn is_nudged(&self) -> bool {
        self.nudged
    }

    /// The next event of a track.
    #[must_use]
    pub fn next(&self, track: usize) -> Seq {
        let track = self.tracks.get(track);
        track.map_or(Seq::ZERO, |track| track.position.next())
    }

    /// The event that is missing before later ones of its track.
    #[must_use]
    pub fn missing(&self, track: usize) -> Option<Seq> {
        let track = self.tracks.get(track).filter(|track| track.is_behind())?;
        Some(track.position.next())
    }

    /// Whether the log must be read.
    #[must_use]
    pub fn must_read(&self) -> bool {
        !self.reading && (self.nudged || self.tracks.iter().any(Track::is_behind))
    }

    /// A read of the log begins; returns the positions after which to read.
    ///
    /// It answers every doubt that arose before it; one that arises while it is under way, it may
    /// not, and leads to another.
    pub fn start_read(&mut self) -> Vec<Seq> {
        self.reading = true;
        self.nudged = false;
        for track in &mut self.tracks {
            track.beyond = Seq::ZERO;
        }
        self.positions().collect()
    }

    /// The read ended and all it brought was offered. `whole`: it brought everything that the log
    /// had; a page that was full, or a read that failed, did not.
    pub fn finish_read(&mut self, whole: bool) {
        self.reading = false;
        self.nudged |= !whole;
    }

    /// Starts over from the current states, whose numbers these are.
    pub fn reset(&mut self, positions: impl IntoIterator<Item = Seq>, epoch: u64) {
        self.epoch = epoch;
        for (track, position) in self.tracks.iter_mut().zip(positions) {
            track.position = position;
        }
    }

    /// Which life of the log its numbers are of.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The numbers of the last delivered events.
    pub fn positions(&self) -> impl Iterator<Item = Seq> {
        self.tracks.iter().map(|track| track.position)
    }
}

impl Track {
    fn is_behind(&self) -> bool {
        self.beyond > self.position
    }
}

/// Where a client says that it stands: the position and the epoch of each track.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed(Vec<(Seq, u64)>);

impl Claimed {
    /// The numbers of the events that it had last.
    pub fn positions(&self) -> impl Iterator<Item = Seq> {
        self.0.iter().map(|(seq, _)| *seq)
    }

    /// Which life of the log they are of; `None` where it had none, which fits any. Of several lives,
    /// it is none that there is.
    #[must_use]
    pub fn epoch(&self) -> Option<u64> {
        let mut epochs = self.0.iter().filter(|(seq, _)| *seq > Seq::ZERO);
        let (_, first) = epochs.next()?;
        let is_one = epochs.all(|(_, epoch)| epoch == first);
        Some(if is_one { *first } else { u64::MAX })
    }
}

/// The `id` of a frame: the positions, joined by commas. Where the log was ever restored, each is
/// followed by its epoch: `3.1764360000`.
impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, position) in self.positions().enumerate() {
            if index > 0 {
                f.write_str(",")?;
            }
            position.fmt(f)?;
            if self.epoch > 0 {
                write!(f, ".{}", self.epoch)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod world;
