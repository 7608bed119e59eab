//! Preferences as text and as maps.

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error};

use super::{Preference, PreferenceError, shown};
use crate::unique::UniqueMap;

/// `concise=0.6,friendly=0.4`, spaces allowed; the empty text is the base.
impl FromStr for Preference {
    type Err = PreferenceError;

    fn from_str(text: &str) -> Result<Self, PreferenceError> {
        if text.trim().is_empty() {
            return Ok(Self::default());
        }
        Self::from_pairs(text.split(',').map(pair).collect::<Result<Vec<_>, _>>()?)
    }
}

/// The text that [`FromStr`] reads back to the same bits.
impl fmt::Display for Preference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (name, weight)) in self.iter().enumerate() {
            let comma = if i == 0 { "" } else { "," };
            // Debug writes an exponent where Display would write hundreds of digits.
            write!(f, "{comma}{name}={weight:?}")?;
        }
        Ok(())
    }
}

fn pair(text: &str) -> Result<(String, f64), PreferenceError> {
    let wrong = |what: &str| PreferenceError::Invalid(format!("{:?} {what}", shown(text.trim())));
    let (name, weight) = text.split_once('=').ok_or_else(|| wrong("is not NAME=WEIGHT"))?;
    let weight = weight.trim().parse().map_err(|_| wrong("has no number after ="))?;
    Ok((name.trim().to_owned(), weight))
}

impl<'de> Deserialize<'de> for Preference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let UniqueMap(pairs) = UniqueMap::<f64>::deserialize(deserializer)?;
        Self::from_pairs(pairs).map_err(D::Error::custom)
    }
}
