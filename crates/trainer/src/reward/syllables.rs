//! Syllables of an English word, by rule.

/// Counts groups of vowels, without a silent final e, `-es` or `-ed`; at least 1. Digits count one syllable each.
pub fn syllables(word: &str) -> usize {
    let letters: Vec<char> = word.chars().filter(|c| c.is_alphabetic()).map(|c| c.to_ascii_lowercase()).collect();
    let digits = word.chars().filter(char::is_ascii_digit).count();
    if letters.is_empty() {
        return digits.max(1);
    }
    let vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let mut groups = 0;
    let mut before = false;
    for (index, &letter) in letters.iter().enumerate() {
        let is_vowel = vowel(letter);
        // "ia", "io" (but "tion", "sion"), "eo" and "ua" in the middle are two sounds.
        let splits = before && index >= 2 && hiatus(letters[index - 2], letters[index - 1], letter);
        if is_vowel && (!before || splits) {
            groups += 1;
        }
        before = is_vowel;
    }
    let ending: String = letters[letters.len().saturating_sub(3)..].iter().collect();
    let consonant_before = |back: usize| letters.len() > back && !vowel(letters[letters.len() - 1 - back]);
    let silent_e = ending.ends_with('e') && consonant_before(1) && !(ending.ends_with("le") && consonant_before(2));
    let silent_ed = ending.ends_with("ed") && consonant_before(2) && !matches!(ending.as_str(), "ted" | "ded");
    let soft = |c: &str| matches!(c, "ses" | "xes" | "zes" | "ces" | "ges" | "hes" | "les");
    let silent_es = ending.ends_with("es") && consonant_before(2) && !soft(&ending);
    if groups > 1 && (silent_e || silent_ed || silent_es) {
        groups -= 1;
    }
    groups.max(1) + digits
}

fn hiatus(before: char, first: char, second: char) -> bool {
    match (first, second) {
        ('i', 'a') => !matches!(before, 'c' | 't' | 's'),
        ('i', 'o') => !matches!(before, 't' | 's' | 'c' | 'g' | 'x'),
        ('e', 'o') | ('i', 'u') => !matches!(before, 'g'),
        ('u', 'a') => !matches!(before, 'q' | 'g'),
        _ => false,
    }
}
