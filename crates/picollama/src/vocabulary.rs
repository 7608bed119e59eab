//! The tokenizer: byte-level BPE with three special tokens, every byte and some merges of English.

/// Ids 0, 1 and 2.
pub(crate) const SPECIAL: [&str; 3] = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"];
/// Opens a turn.
pub(crate) const BOS: u32 = 1;
/// Ends a turn.
pub(crate) const EOS: u32 = 2;

/// ChatML.
pub(crate) const CHAT_TEMPLATE: &str = "{% for message in messages %}\
    {% if message['role'] not in ['system', 'user', 'assistant'] %}\
    {{ raise_exception('Unknown role ' + message['role']) }}{% endif %}\
    {{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}{% endfor %}\
    {% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";

const MERGES: [&str; 61] = [
    "Ġ t", "Ġ a", "i n", "h e", "Ġ Ġ", "r e", "o n", "e r", "Ġt he", "a t", "Ġ s", "Ġ o", "e n", "Ġ c", "e s", "Ġ w",
    "n d", "i t", "o r", "i s", "Ġ f", "Ġo f", "in g", "a n", "Ġ p", "e d", "a l", "Ġ b", "Ġa nd", "Ġ m", "Ġ in",
    "a r", "Ġt o", "Ġ d", "o u", "l e", "Ġ h", "i on", "o m", "Ġ n", "a s", "Ġ re", "i c", "Ġ l", "v e", "e l", "Ġ g",
    "r o", "l l", "c t", "Ġ is", "u t", "s t", "e t", "en t", "h a", "Ġ T", "i v", "Ġ e", "Ġ y", "Ġy ou",
];

/// All tokens by id, and the merges as pairs; `limit` is the number of tokens there is room for.
pub(crate) fn vocabulary(limit: usize) -> (Vec<String>, Vec<(String, String)>) {
    let mut tokens: Vec<String> = SPECIAL.iter().map(|token| (*token).to_owned()).collect();
    tokens.extend(byte_letters().into_iter().map(String::from));
    assert!(tokens.len() <= limit, "a vocabulary of {limit} has no room for {} tokens", tokens.len());
    let mut merges = Vec::new();
    for merge in MERGES {
        if tokens.len() == limit {
            break;
        }
        let (left, right) = merge.split_once(' ').expect("two parts");
        tokens.push(format!("{left}{right}"));
        merges.push((left.to_owned(), right.to_owned()));
    }
    (tokens, merges)
}

/// GPT-2's letters for bytes, by byte: visible Latin-1 stands for itself, the rest follows from U+0100 on.
fn byte_letters() -> Vec<char> {
    let mut others = '\u{100}'..;
    (0..=u8::MAX)
        .map(|byte| match byte {
            b'!'..=b'~' | 0xA1..=0xAC | 0xAE..=0xFF => char::from(byte),
            _ => others.next().expect("68 letters follow"),
        })
        .collect()
}
