//! Finding what was edited, removed, moved or cut.

use std::path::Path;

use super::chain::{Keys, Tag};
use super::checkpoint::{self, Checkpoint};
use super::log::hex_tag;
use super::segment::{self, Line, Lines};
use super::{AuditError, Event, Record};

/// Problems that are listed; more are counted.
const LISTED: usize = 100;

/// What is verified.
#[derive(Debug, Clone, Copy, Default)]
pub struct Scope<'a> {
    /// The first segment, when earlier ones were put elsewhere: the chain is followed from what it states.
    pub from: Option<u32>,
    /// A copy of a checkpoint that was kept elsewhere: the log must contain it.
    pub checkpoint: Option<&'a Path>,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Report {
    /// Records that were read.
    pub records: u64,
    /// Segments that were read.
    pub segments: usize,
    /// What is wrong, in order. Empty: nothing was changed.
    pub problems: Vec<String>,
    /// Problems beyond those that are listed.
    pub unlisted: usize,
    /// Bytes behind the last whole record, written after the last checkpoint: a crash, or a record that is being written
    /// now.
    pub torn: u64,
    /// How often a start found such bytes and took them out.
    pub healed: u64,
}

struct Walk<'a> {
    keys: &'a Keys,
    report: Report,
    tag: Tag,
    seq: u64,
    /// Checkpoints that were not passed yet.
    ahead: Vec<Checkpoint>,
}

/// Reads the whole log in `dir`, which may be written at the same time. `visit` sees each line that carries a tag, and
/// whether its place in the chain is right.
///
/// # Errors
/// When it cannot be read at all, or a checkpoint is not signed with this key.
pub fn verify(
    dir: &Path,
    keys: &Keys,
    scope: Scope<'_>,
    mut visit: impl FnMut(&[u8], bool),
) -> Result<Report, AuditError> {
    // Before the lines: the log only grows meanwhile.
    let own = Checkpoint::read(&dir.join(checkpoint::FILE), keys)?;
    let kept = scope.checkpoint.map(|path| Checkpoint::read(path, keys)).transpose()?;
    let mut walk = Walk { keys, report: Report::default(), tag: keys.genesis(), seq: 0, ahead: Vec::new() };
    if own.is_none() {
        walk.report.add("the checkpoint is missing");
    }
    if kept == Some(None) {
        walk.report.add("the checkpoint that was kept elsewhere is missing");
    }
    let expected = own.into_iter().chain(kept.flatten()).filter(|c| c.segment >= scope.from.unwrap_or(1));
    walk.ahead = expected.collect();
    let mut number = scope.from.unwrap_or(1);
    let segments: Vec<u32> = segment::list(dir)?.into_iter().filter(|segment| *segment >= number).collect();
    for segment in segments {
        if number < segment {
            let last = segment - 1;
            walk.report.add(format!("segments {number} to {last} are missing"));
        }
        walk.segment(dir, segment, scope.from == Some(segment), &mut visit)?;
        number = segment + 1;
    }
    for checkpoint in std::mem::take(&mut walk.ahead) {
        let Checkpoint { segment, seq, .. } = checkpoint;
        walk.report.add(format!("the checkpoint at record {seq} in segment {segment} is not passed: the log was cut"));
    }
    Ok(walk.report)
}

impl Walk<'_> {
    fn segment(
        &mut self,
        dir: &Path,
        segment: u32,
        trust: bool,
        visit: &mut impl FnMut(&[u8], bool),
    ) -> Result<(), AuditError> {
        self.report.segments += 1;
        let mut lines = Lines::open(&segment::path(dir, segment), 0)?;
        let mut first = true;
        loop {
            match lines.next()? {
                Line::Whole => {}
                Line::End => return Ok(()),
                Line::Torn(bytes) => {
                    let last = self.ahead.is_empty() && !segment::path(dir, segment + 1).exists();
                    if last {
                        self.report.torn = bytes;
                    } else {
                        self.report.add(format!("segment {segment} ends with {bytes} bytes that are no record"));
                    }
                    return Ok(());
                }
            }
            if first {
                self.header(segment, trust, &lines.line);
            }
            first = false;
            let holds = self.line(segment, &lines.line);
            visit(&lines.line, holds);
            let (seq, tag) = (self.seq, self.tag);
            self.ahead.retain(|c| *c != Checkpoint { segment, bytes: lines.offset, seq, tag });
        }
    }

    /// The first line says which segment it begins: lines must not wander from one file to the next.
    fn header(&mut self, segment: u32, trust: bool, line: &[u8]) {
        match serde_json::from_slice::<Record<Event>>(line) {
            Ok(Record { seq, event: Event::Segment { segment: stated, before, .. }, .. }) if stated == segment => {
                if let (true, Some(tag)) = (trust, hex_tag(&before)) {
                    (self.tag, self.seq) = (tag, seq.saturating_sub(1));
                }
            }
            _ => self.report.add(format!("segment {segment} does not begin with its header")),
        }
    }

    fn line(&mut self, segment: u32, line: &[u8]) -> bool {
        self.report.records += 1;
        self.seq += 1;
        let stated = stated_seq(line);
        let checked = self.keys.check(&self.tag, line);
        let holds = checked.as_ref().is_some_and(|checked| checked.holds) && stated == Some(self.seq);
        if !holds {
            let expected = self.seq;
            self.report.add(match stated {
                Some(seq) if seq > expected => {
                    format!("segment {segment}: records {expected} to {} are missing", seq - 1)
                }
                Some(seq) if seq < expected => format!("segment {segment}: record {seq} is out of its place"),
                _ => format!("segment {segment}: record {expected} was changed, or what stood before it"),
            });
        }
        if line.get(..96).unwrap_or(line).windows(15).any(|w| w == b"\"kind\":\"healed\"") {
            self.report.healed += 1;
        }
        // Goes on from what the line states, so that one change is one problem.
        if let Some(checked) = checked {
            self.tag = checked.tag;
        }
        if let Some(seq) = stated {
            self.seq = seq;
        }
        holds
    }
}

impl Report {
    fn add(&mut self, problem: impl Into<String>) {
        if self.problems.len() < LISTED {
            self.problems.push(problem.into());
        } else {
            self.unlisted += 1;
        }
    }
}

fn stated_seq(line: &[u8]) -> Option<u64> {
    let digits = line.strip_prefix(b"{\"seq\":")?;
    let end = digits.iter().position(|b| *b == b',')?;
    std::str::from_utf8(&digits[..end]).ok()?.parse().ok()
}
