//! How far an evaluation is, for whoever waits for it.

/// What has just happened.
#[derive(Clone, Copy, Debug)]
pub enum News {
    /// It is known what there is to do.
    Begun {
        /// Answers that a run which was broken off had made.
        taken_up: usize,
        /// Answers that all studies need together.
        all: usize,
    },
    /// So many more answers are there.
    Made(usize),
    /// A study has its answers.
    Answered {
        /// The study.
        study: &'static str,
        /// Where they are from.
        tally: Tally,
    },
    /// A study's answers have been compared.
    Compared {
        /// The study.
        study: &'static str,
        /// How often two who answer were held against each other, over all prompts.
        duels: usize,
    },
}

/// Where the answers of a study are from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Made now.
    pub made: usize,
    /// Made by a run that was broken off.
    pub taken_up: usize,
    /// Made for an earlier study, or for another combination of the same one: the same soup is asked once.
    pub shared: usize,
}
