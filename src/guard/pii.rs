//! `kind = "pii"`: what names a person, by its form and, where there is one, its check digit.

use std::sync::LazyLock;

use regex::Regex;

use super::pattern::Verify;

/// One kind of personal data.
pub(super) struct Kind {
    /// Its name in the configuration.
    pub(super) name: &'static str,
    /// Its form, in normalised text.
    pub(super) expression: &'static str,
    /// What else must hold.
    pub(super) verify: Option<Verify>,
}

/// All there are, those with a check digit before those that look alike: a telephone number may be a card's.
pub(super) const KINDS: [Kind; 6] = [
    Kind {
        name: "email",
        expression: r#"[^ @<>()\[\],;:"]{1,64}@(?:[^ @<>()\[\],;:".!?/]{1,63}\.){1,4}\p{L}{2,24}\b"#,
        verify: None,
    },
    Kind { name: "iban", expression: r"\b[a-z]{2}[0-9]{2}(?:[ -]?[0-9a-z]){11,30}\b", verify: Some(iban) },
    Kind { name: "card", expression: r"\b[0-9](?:[ -]?[0-9]){12,18}\b", verify: Some(card) },
    Kind { name: "ssn", expression: r"\b[0-9]{3}-[0-9]{2}-[0-9]{4}\b", verify: None },
    Kind {
        name: "ip",
        expression: r"\b(?:(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}(?:25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\b",
        verify: None,
    },
    Kind {
        name: "phone",
        // With a country's prefix, with an area in brackets, with a 0 in front, and as North America writes it.
        expression: r"(?:(?:\+|\b00)[1-9](?:[ ./()-]{0,2}[0-9]){7,14}|\(0?[1-9][0-9]{1,4}\)(?:[ ./-]{0,2}[0-9]){5,10}|\b0[1-9](?:[ ./-]?[0-9]){7,12}|\b(?:1[ .-])?[2-9][0-9]{2}[ .-][0-9]{3}[ .-][0-9]{4})\b",
        verify: Some(phone),
    },
];

/// The longest beginning, up to the end of a group of digits, that passes the check of ISO/IEC 7812-1 (Luhn).
fn card(text: &str) -> Option<usize> {
    let valid = |end: &usize| {
        let digits = text[..*end].bytes().filter(u8::is_ascii_digit).map(|b| u32::from(b - b'0'));
        let doubled = |(i, digit): (usize, u32)| match (i % 2, digit * 2) {
            (0, _) => digit,
            (_, twice) => twice / 10 + twice % 10,
        };
        let (count, sum) = digits.rev().enumerate().map(doubled).fold((0, 0), |(n, sum), digit| (n + 1, sum + digit));
        (13..=19).contains(&count) && sum.is_multiple_of(10)
    };
    ends(text).filter(valid).last()
}

/// The longest beginning, up to the end of a group, whose remainder by 97 is 1 (ISO 13616): words may follow.
fn iban(text: &str) -> Option<usize> {
    let valid = |end: &usize| {
        let plain: Vec<u8> = text[..*end].bytes().filter(u8::is_ascii_alphanumeric).collect();
        let value = |sum: u32, byte: &u8| {
            let digit = char::from(*byte).to_digit(36).unwrap_or(0);
            (sum * if digit > 9 { 100 } else { 10 } + digit) % 97
        };
        (15..=34).contains(&plain.len()) && plain[4..].iter().chain(&plain[..4]).fold(0, value) == 1
    };
    ends(text).filter(valid).last()
}

/// Where groups of letters and digits end.
fn ends(text: &str) -> impl Iterator<Item = usize> {
    let plain = |i: usize| text.as_bytes().get(i).is_some_and(u8::is_ascii_alphanumeric);
    (1..=text.len()).filter(move |end| plain(end - 1) && !plain(*end))
}

static DATE: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"^[0-9]{1,2}([./ -])[0-9]{1,2}[./ -](?:19|20)[0-9]{2}(?:[^0-9]|$)").expect("a constant")
});

/// Not a day with its year, and what may stand behind it.
fn phone(text: &str) -> Option<usize> {
    let digits = text.bytes().filter(u8::is_ascii_digit).count();
    ((8..=15).contains(&digits) && !DATE.is_match(text)).then_some(text.len())
}
