//! Words and sentences of an answer.

/// An answer taken apart once.
#[derive(Clone, Debug)]
pub struct Text {
    /// The answer itself, lower-cased.
    pub lower: String,
    /// Lower-cased words: runs of letters, digits and inner apostrophes.
    pub words: Vec<String>,
    /// Words per sentence; a sentence ends at `.`, `!`, `?` or the end of a line, and holds at least one word.
    pub sentences: Vec<usize>,
    /// Sentences that end with `.`, `!` or `?`.
    pub ended_sentences: usize,
    /// Exclamation marks.
    pub exclamations: usize,
    /// Share of characters that are neither letters, digits, white space nor everyday punctuation.
    pub odd_share: f64,
}

impl Text {
    /// Takes `text` apart.
    pub fn new(text: &str) -> Self {
        let lower = text.to_lowercase().replace('’', "'");
        let words: Vec<String> = words(&lower).map(str::to_owned).collect();
        let mut sentences = Vec::new();
        let mut ended_sentences = 0;
        for piece in lower.split_inclusive(['.', '!', '?', '\n']) {
            let count = words_of_sentence(piece);
            if count > 0 {
                sentences.push(count);
                ended_sentences += usize::from(piece.ends_with(['.', '!', '?']));
            }
        }
        let everyday = |c: &char| c.is_alphanumeric() || c.is_whitespace() || ".,;:!?'\"()-*%$&/".contains(*c);
        let (characters, odd) = (text.chars().count(), text.chars().filter(|c| !everyday(c)).count());
        Self {
            sentences,
            ended_sentences,
            exclamations: text.matches('!').count(),
            odd_share: odd as f64 / characters.max(1) as f64,
            lower,
            words,
        }
    }

    /// Distinct words over words, 0 for no words.
    pub fn distinct_share(&self) -> f64 {
        distinct(self.words.iter().map(String::as_str)) as f64 / self.words.len().max(1) as f64
    }

    /// Distinct pairs of neighbouring words over pairs, 1 for fewer than two words.
    pub fn distinct_pairs_share(&self) -> f64 {
        if self.words.len() < 2 {
            return 1.0;
        }
        let pairs: std::collections::BTreeSet<_> = self.words.windows(2).collect();
        pairs.len() as f64 / (self.words.len() - 1) as f64
    }
}

fn words(lower: &str) -> impl Iterator<Item = &str> {
    lower
        .split(|c: char| !c.is_alphanumeric() && c != '\'')
        .map(|word| word.trim_matches('\''))
        .filter(|word| !word.is_empty())
}

/// Words of a sentence; the number of a list item ("1." on its own) is no sentence.
fn words_of_sentence(piece: &str) -> usize {
    let count = words(piece).count();
    let only_number = count == 1 && words(piece).all(|word| word.chars().all(|c| c.is_ascii_digit()));
    if only_number { 0 } else { count }
}

/// How many different strings there are.
pub(crate) fn distinct<'a>(words: impl Iterator<Item = &'a str>) -> usize {
    words.collect::<std::collections::BTreeSet<_>>().len()
}
