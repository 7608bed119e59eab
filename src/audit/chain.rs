//! The chain of records: each line ends with a tag over itself and over the tag of the line before.
//!
//! `tag_n = HMAC-SHA256(key, tag_(n-1) ‖ line_n without its tag)`, so whoever does not have the key can neither edit, remove,
//! insert nor move a line without breaking the chain there. What stands at the end is held by a signed checkpoint.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::AuditError;
use crate::config::{self, Secret};

/// What a key has at the least: 128 bits in hex.
const SHORTEST_SECRET: usize = 32;

type HmacSha256 = Hmac<Sha256>;

/// 32 bytes that only the key makes.
pub(super) type Tag = [u8; 32];

const BEFORE_TAG: &str = ",\"mac\":\"";
const AFTER_TAG: &str = "\"}";
const TAG_DIGITS: usize = 64;

/// Everything behind the text that the tag covers.
const SUFFIX: usize = BEFORE_TAG.len() + TAG_DIGITS + AFTER_TAG.len();

/// Keys for different ends, all from one secret: what is told by one says nothing of the others.
#[derive(Clone)]
pub struct Keys {
    chain: HmacSha256,
    checkpoint: HmacSha256,
    names: HmacSha256,
    texts: HmacSha256,
}

/// What a line says of itself.
pub(super) struct Checked {
    /// The tag it carries.
    pub(super) tag: Tag,
    /// Whether that is the right one behind the line before.
    pub(super) holds: bool,
}

impl Keys {
    /// Reads the secret that the configuration names and derives the keys.
    ///
    /// # Errors
    /// When there is none, its file cannot be read, or it is too short to be one.
    pub fn open(config: &config::Audit) -> Result<Self, AuditError> {
        let secret = match (&config.key, &config.key_file) {
            (Some(key), _) => key.clone(),
            (None, Some(file)) => {
                let wrong = |e: std::io::Error| AuditError::Key(format!("{} cannot be read: {e}", file.display()));
                let text = std::fs::read_to_string(file).map_err(wrong)?;
                Secret::new(text.trim().to_owned()).ok_or_else(|| AuditError::Key("the file is empty".into()))?
            }
            (None, None) => return Err(AuditError::Key("set it, or [audit] key".into())),
        };
        if secret.reveal().len() < SHORTEST_SECRET {
            let bytes = SHORTEST_SECRET;
            return Err(AuditError::Key(format!("the key has to have {bytes} bytes or more: `openssl rand -hex 32`")));
        }
        Ok(Self::new(&secret))
    }

    /// Derives the keys.
    pub fn new(secret: &Secret) -> Self {
        let root = keyed(secret.reveal().as_bytes());
        let derive = |label: &str| keyed(&tag(&root, &[b"tureen audit ", label.as_bytes()]));
        Self {
            chain: derive("chain"),
            checkpoint: derive("checkpoint"),
            names: derive("names"),
            texts: derive("texts"),
        }
    }

    /// What stands before the first line.
    pub(super) fn genesis(&self) -> Tag {
        tag(&self.chain, &[b"genesis"])
    }

    /// A line from a JSON object, and its tag.
    pub(super) fn seal(&self, before: &Tag, object: &str) -> (String, Tag) {
        let body = object.strip_suffix('}').expect("a record is a JSON object");
        let tag = tag(&self.chain, &[before, body.as_bytes()]);
        (format!("{body}{BEFORE_TAG}{}{AFTER_TAG}\n", hex::encode(tag)), tag)
    }

    /// Looks at a line, without its newline. `None` when it carries no tag at all.
    pub(super) fn check(&self, before: &Tag, line: &[u8]) -> Option<Checked> {
        let (body, suffix) = line.split_at_checked(line.len().checked_sub(SUFFIX)?)?;
        let digits = suffix.strip_prefix(BEFORE_TAG.as_bytes())?.strip_suffix(AFTER_TAG.as_bytes())?;
        let mut stated = Tag::default();
        hex::decode_to_slice(digits, &mut stated).ok()?;
        // Digits have two cases; a line has one form.
        let same_form = !digits.iter().any(u8::is_ascii_uppercase);
        Some(Checked { holds: same_form && tag(&self.chain, &[before, body]) == stated, tag: stated })
    }

    /// Signs a checkpoint.
    pub(super) fn sign(&self, checkpoint: &str) -> String {
        hex::encode(tag(&self.checkpoint, &[checkpoint.as_bytes()]))
    }

    /// A name that stands for `user` of `owner`, and that nobody can turn back or try out without the key.
    pub fn pseudonym(&self, owner: &str, user: &str) -> String {
        let length = (owner.len() as u64).to_le_bytes();
        hex::encode(&tag(&self.names, &[&length, owner.as_bytes(), user.as_bytes()])[..16])
    }

    /// A fingerprint of what will be added.
    pub fn begin_fingerprint(&self) -> Fingerprint {
        Fingerprint(self.texts.clone())
    }

    /// A hash of a text. With the key, because a plain one of a short text is found by trying.
    pub fn fingerprint(&self, bytes: &[u8]) -> String {
        hex::encode(tag(&self.texts, &[bytes]))
    }
}

/// A fingerprint of what comes bit by bit.
pub struct Fingerprint(HmacSha256);

impl Fingerprint {
    /// Adds bytes.
    pub fn add(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The fingerprint in hex.
    pub fn finish(self) -> String {
        hex::encode(self.0.finalize().into_bytes())
    }
}

fn keyed(key: &[u8]) -> HmacSha256 {
    HmacSha256::new_from_slice(key).expect("HMAC takes keys of every length")
}

fn tag(key: &HmacSha256, parts: &[&[u8]]) -> Tag {
    let mut mac = key.clone();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}
