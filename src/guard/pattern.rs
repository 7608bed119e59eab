//! A regular expression, and how far a match can reach.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};

/// The most bytes of text that a check holds back.
const WIDEST: usize = 16 << 10;

/// Bytes that a compiled expression may take: a list of ten thousand words fits.
const SIZE: usize = 256 << 20;

/// Bytes that matching may take to be quick with such a list.
const STATES: usize = 16 << 20;

/// Looks at a match more closely: how many of its bytes are one, if any.
pub(super) type Verify = fn(&str) -> Option<usize>;

/// What a stage looks for, in normalised text.
#[derive(Debug, Clone)]
pub(super) struct Pattern {
    /// Upper and lower case are alike, unless it says otherwise.
    pub(super) regex: Regex,
    /// Bytes of the longest match.
    pub(super) width: usize,
    /// No match holds a space, so that a word can be told as soon as it ends.
    pub(super) within_word: bool,
    /// What else must hold.
    pub(super) verify: Option<Verify>,
}

impl Pattern {
    /// Any of `parts`, the first one that matches where several do.
    ///
    /// # Errors
    /// What is wrong, for people. A part without a longest match is refused: an endless match could begin anywhere, so
    /// nothing could ever leave before the end of an answer.
    pub(super) fn new(parts: &[String]) -> Result<Self, String> {
        let (mut width, mut within_word) = (0, true);
        for part in parts {
            let hir = parse(part)?;
            width = width.max(longest(part, &hir)?);
            within_word &= !holds_space(&hir);
        }
        let any: Vec<_> = parts.iter().map(|part| format!("(?:{part})")).collect();
        let mut builder = RegexBuilder::new(&any.join("|"));
        let regex = builder.case_insensitive(true).size_limit(SIZE).dfa_size_limit(STATES).build();
        Ok(Self { regex: regex.map_err(|e| e.to_string())?, width, within_word, verify: None })
    }

    /// With a closer look at matches.
    pub(super) fn verified(self, verify: Option<Verify>) -> Self {
        Self { verify, ..self }
    }
}

fn parse(part: &str) -> Result<Hir, String> {
    let parsed = ParserBuilder::new().case_insensitive(true).build().parse(part);
    parsed.map_err(|e| format!("{part:?} is no regular expression: {}", e.to_string().replace('\n', " ")))
}

fn longest(part: &str, hir: &Hir) -> Result<usize, String> {
    if hir.properties().minimum_len() == Some(0) {
        return Err(format!("{part:?} matches the empty text"));
    }
    match hir.properties().maximum_len() {
        None => Err(format!("{part:?} has no longest match: write {{1,64}} in place of + and {{0,64}} in place of *")),
        Some(most) if most > WIDEST => {
            Err(format!("{part:?} has matches of up to {most} bytes; at most {WIDEST} can be held back"))
        }
        Some(most) => Ok(most),
    }
}

fn holds_space(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => false,
        HirKind::Literal(literal) => literal.0.contains(&b' '),
        HirKind::Class(Class::Unicode(class)) => class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&' ')),
        HirKind::Class(Class::Bytes(class)) => class.ranges().iter().any(|r| (r.start()..=r.end()).contains(&b' ')),
        HirKind::Repetition(repetition) => holds_space(&repetition.sub),
        HirKind::Capture(capture) => holds_space(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().any(holds_space),
    }
}
