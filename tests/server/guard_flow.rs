//! What the checks make of a text, whatever pieces it comes in.

use std::sync::LazyLock;

use proptest::prelude::*;
use tureen::config::Config;
use tureen::guard::{Flow, Side};

fn config(checks: &str) -> Config {
    let variables = [("TUREEN__GUARD__CHECKS".to_owned(), checks.to_owned())];
    Config::load(None, variables).unwrap_or_else(|e| panic!("{e}"))
}

/// What leaves when these pieces come, and the check that ended it.
fn pass(config: &Config, pieces: &[&str]) -> (String, Option<String>) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut flow = Flow::new(&config.guard.chain, Side::Output);
        let mut left = String::new();
        for piece in pieces {
            left.push_str(&flow.push(piece).await.unwrap());
        }
        left.push_str(&flow.finish("").await.unwrap());
        (left, flow.blocked().map(ToString::to_string))
    })
}

fn whole(config: &Config, text: &str) -> String {
    pass(config, &[text]).0
}

/// Chains of different lengths, orders and actions, over the fragments below.
static CHAINS: LazyLock<Vec<Config>> = LazyLock::new(|| {
    [
        r#"[{name = "w", kind = "words", action = "block", words = ["bad", "bad day", "fix"]}]"#,
        r#"[{name = "w", kind = "words", action = "redact", words = ["bad", "a bad day", "é", "한"], replacement = ""}]"#,
        r#"[{name = "x", kind = "regex", action = "redact", patterns = ["b.{0,6}d", "[0-9]{2,4}\\b", "^a"], replacement = "bad"},
            {name = "w", kind = "words", action = "block", words = ["bad bad", "1bad"]}]"#,
        r#"[{name = "w", kind = "words", action = "allow", words = ["bad"]}, {name = "p", kind = "pii", action = "redact"},
            {name = "x", kind = "regex", action = "redact", patterns = ["d$", "[a-z]i", "(?-i)B"], replacement = "_"},
            {name = "h", kind = "words", action = "hold", words = ["day"]},
            {name = "y", kind = "words", action = "block", words = ["email", "[card] _"]}]"#,
        r#"[{name = "p", kind = "pii", action = "block", types = ["card", "phone", "iban"]},
            {name = "q", kind = "pii", action = "redact", types = ["email", "ip", "ssn"], replacement = "bad"},
            {name = "w", kind = "words", action = "redact", words = ["bad"], replacement = "day"}]"#,
        r#"[{name = "1", kind = "regex", action = "redact", patterns = ["a"], replacement = "bb"},
            {name = "2", kind = "regex", action = "redact", patterns = ["bb?"], replacement = "a"},
            {name = "3", kind = "regex", action = "redact", patterns = ["(?:a ?){2,3}"], replacement = " "},
            {name = "4", kind = "regex", action = "block", patterns = ["\\Ba  ?d\\B", "\u0301"]}]"#,
    ]
    .iter()
    .map(|checks| config(checks))
    .collect()
});

const FRAGMENTS: [&str; 36] = [
    "bad",
    "b",
    "a",
    "d",
    "ba",
    " ",
    " ",
    "  ",
    "\n",
    "\t",
    "BAD ",
    "Ｂａｄ",
    "b\u{200B}a",
    "\u{AD}",
    "day",
    "a bad day",
    "ﬁx",
    "ﬁ",
    "x",
    "é",
    "e",
    "\u{301}",
    "\u{327}",
    "@",
    "mia@example.org",
    "ample.or",
    ".",
    "4111 1111 1111 1111",
    "1",
    "0",
    "+49 30 1234567",
    "127.0.0.1",
    "\u{1112}",
    "\u{1161}",
    "\u{11AB}",
    "GB82 WEST 1234 5698 7654 32",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn pieces_do_not_matter(
        fragments in prop::collection::vec(prop::sample::select(&FRAGMENTS[..]), 0..40),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..60),
        chain in any::<prop::sample::Index>(),
    ) {
        let text = fragments.concat();
        let bounds: Vec<usize> = text.char_indices().map(|(i, _)| i).chain([text.len()]).collect();
        let mut cuts: Vec<usize> = cuts.iter().map(|cut| bounds[cut.index(bounds.len())]).chain([0, text.len()]).collect();
        cuts.sort_unstable();
        let pieces: Vec<&str> = cuts.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let each: Vec<&str> = bounds.windows(2).map(|pair| &text[pair[0]..pair[1]]).collect();
        let config = &CHAINS[chain.index(CHAINS.len())];
        let (at_once, blocked) = pass(config, &[&text]);
        for pieces in [pieces, each] {
            let (left, stopped) = pass(config, &pieces);
            prop_assert_eq!(&left, &at_once, "{:?}", pieces);
            prop_assert_eq!(stopped.is_some(), blocked.is_some());
        }
    }

    /// Against a loop over words that knows nothing of patterns.
    #[test]
    fn words_are_redacted_wherever_they_stand(words in prop::collection::vec("[ab]{1,4}", 0..60)) {
        let config = config(r#"[{name = "w", kind = "words", action = "redact", words = ["ab", "bba"], replacement = "*"}]"#);
        let expected: Vec<&str> = words.iter().map(|word| if word == "ab" || word == "bba" { "*" } else { word }).collect();
        prop_assert_eq!(whole(&config, &words.join(" ")), expected.join(" "));
    }
}

#[test]
fn nothing_of_a_match_leaves_before_it_is_whole() {
    let config = config(r#"[{name = "w", kind = "words", action = "block", words = ["very bad day"]}]"#);
    let text = "it was a very bad day";
    let mut pieces: Vec<String> = text.chars().map(String::from).collect();
    // Without an end: what left by then has left.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let mut flow = Flow::new(&config.guard.chain, Side::Output);
        let mut left = String::new();
        for piece in pieces.drain(..) {
            left.push_str(&flow.push(&piece).await.unwrap());
        }
        assert!("it was a ".starts_with(&left), "{left:?}");
    });
}

#[test]
fn words_are_found_however_they_are_written() {
    let config = config(
        r#"[{name = "w", kind = "words", action = "redact", words = ["café", "don't do it", "寿司", "ＡＢＣ"], replacement = "*"}]"#,
    );
    for (text, wanted) in [
        ("a café.", "a *."),
        ("a CAFE\u{301}", "a *"),
        ("c\u{200D}a\u{2060}f\u{E9}", "*"),
        ("cafés and decafé", "cafés and decafé"),
        ("Don't \n do\tit!", "*!"),
        ("我吃寿司了", "我吃*了"),
        ("abc 𝐀𝐁𝐂 ⒶⒷⒸ", "* * *"),
        ("  spaces   stay \u{200B}", "  spaces   stay \u{200B}"),
    ] {
        assert_eq!(whole(&config, text), wanted, "{text:?}");
    }
}

#[test]
fn personal_data_is_known_by_its_form_and_check_digits() {
    let config = config(r#"[{name = "p", kind = "pii", action = "redact"}]"#);
    for (text, wanted) in [
        ("mia.o'neil+x@mail.example.co.uk, please", "[email], please"),
        ("<müller@bücher.example>", "<[email]>"),
        ("DE89 3704 0044 0532 0130 00 is mine", "[iban] is mine"),
        ("DE89370400440532013000", "[iban]"),
        ("DE88370400440532013000", "DE88370400440532013000"),
        ("card 4111 1111 1111 1111", "card [card]"),
        ("card 4111-1111-1111-1111 12/27", "card [card] 12/27"),
        ("1234 4111 1111 1111 1111", "1234 [card]"),
        ("4111 1111 1111 1112", "4111 1111 1111 1112"),
        ("078-05-1120", "[ssn]"),
        ("at 192.168.100.200:80", "at [ip]:80"),
        ("version 1.2.3 of 999.1.1.1", "version 1.2.3 of 999.1.1.1"),
        ("+1 (555) 123-4567", "[phone]"),
        ("(030) 901820", "[phone]"),
        ("030/901820-12", "[phone]"),
        ("0049 30 901820", "[phone]"),
        ("01 23 45 67 89", "[phone]"),
        ("555-123-4567", "[phone]"),
        ("born 01.02.2024, 2024-02-01 or 01/02/2024 10:30", "born 01.02.2024, 2024-02-01 or 01/02/2024 10:30"),
        ("12345678 and 3.14159265", "12345678 and 3.14159265"),
    ] {
        assert_eq!(whole(&config, text), wanted, "{text:?}");
    }
}

#[test]
fn what_a_check_cannot_be_made_of_is_refused_by_name() {
    for (checks, wanted) in [
        (
            r#"[{name = "a", kind = "regex", action = "block", patterns = ["x", "(("]}]"#,
            "\"((\" is no regular expression",
        ),
        (r#"[{name = "a", kind = "regex", action = "block", patterns = ["x.*y"]}]"#, "\"x.*y\" has no longest match"),
        (r#"[{name = "a", kind = "regex", action = "block", patterns = ["x{0,3}"]}]"#, "matches the empty text"),
        (r#"[{name = "a", kind = "regex", action = "block", patterns = ["x{1,20000}"]}]"#, "can be held back"),
        (r#"[{name = "a", kind = "regex", action = "block"}]"#, "nothing to look for"),
        (r#"[{name = "a", kind = "words", action = "block", words = ["\u200b"]}]"#, "nothing that can be seen"),
        (r#"[{name = "a", kind = "words", action = "block", file = "/no/such/file"}]"#, "/no/such/file"),
        (r#"[{name = "a", kind = "words", action = "stop", words = ["x"]}]"#, "action"),
        (r#"[{name = "a", kind = "magic", action = "block"}]"#, "kind"),
        (r#"[{name = "a b", kind = "words", action = "block", words = ["x"]}]"#, "name"),
        (r#"[{name = "a", kind = "pii", action = "block", types = ["x"]}]"#, "types"),
        (r#"[{name = "a", kind = "pii", action = "block", words = ["x"]}]"#, "does not have it"),
        (r#"[{name = "a", kind = "drift", action = "redact", max = 1.0}]"#, "knows no place"),
        (r#"[{name = "a", kind = "drift", action = "block", max = 1.0, on = "both"}]"#, "on"),
        (r#"[{name = "a", kind = "moderation", action = "block", endpoint = "ftp://x"}]"#, "endpoint"),
        (r#"[{name = "a", kind = "pii", action = "block"}, {name = "a", kind = "pii", action = "block"}]"#, "another"),
        (r#"[{name = "a", kind = "pii", action = "block", nonsense = 1}]"#, "nonsense"),
        (r#"[{name = "a""#, "GUARD__CHECKS"),
    ] {
        let variables = [("TUREEN__GUARD__CHECKS".to_owned(), checks.to_owned())];
        let error = Config::load(None, variables).unwrap_err().to_string();
        assert!(error.to_lowercase().contains(&wanted.to_lowercase()), "{checks}: {error}");
    }
    let held = r#"[{name = "a", kind = "pii", action = "hold"}]"#;
    let variables = [("TUREEN__GUARD__CHECKS", held), ("TUREEN__STORE__URL", "")];
    let error = Config::load(None, variables.map(|(k, v)| (k.to_owned(), v.to_owned()))).unwrap_err();
    assert!(error.to_string().contains("needs a store"), "{error}");
}
