//! Values of the GGUF metadata, compact enough that a header costs a small multiple of its bytes.

use std::io::Read;

use crate::checkpoint::gguf::GgufError;
use crate::checkpoint::gguf::cursor::Cursor;

/// Most elements of one array: several times the largest vocabulary known.
const MAX_ELEMENTS: u64 = 1 << 23;

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
    Bool(bool),
    String(String),
    Integers(Vec<i64>),
    Floats(Vec<f32>),
    Strings(Vec<String>),
    /// An array of booleans or doubles, which no key that matters here holds.
    Ignored,
}

impl Value {
    pub(crate) fn read<R: Read>(cursor: &mut Cursor<R>) -> Result<Self, GgufError> {
        match cursor.u32("a metadata type")? {
            8 => Ok(Self::String(cursor.string("a metadata string")?)),
            9 => Self::read_array(cursor),
            6 => Ok(Self::Float(shortest(f32::from_le_bytes(cursor.array("a metadata value")?)))),
            12 => Ok(Self::Float(f64::from_le_bytes(cursor.array("a metadata value")?))),
            7 => Ok(Self::Bool(cursor.array::<1>("a metadata value")? != [0])),
            10 => Ok(Self::Integer(cursor.u64("a metadata value")?.into())),
            code => Ok(Self::Integer(integer(cursor, code)?.into())),
        }
    }

    fn read_array<R: Read>(cursor: &mut Cursor<R>) -> Result<Self, GgufError> {
        let code = cursor.u32("an array's type")?;
        let count = cursor.u64("an array's length")?;
        let size = match code {
            0 | 1 | 7 => 1,
            2 | 3 => 2,
            4..=6 => 4,
            8 | 10..=12 => 8,
            code => return Err(GgufError::ValueType(code)),
        };
        cursor.require("an array", count, size)?;
        if count > MAX_ELEMENTS {
            return Err(GgufError::TooMany { what: "array elements", count, limit: MAX_ELEMENTS });
        }
        match code {
            6 => (0..count)
                .map(|_| Ok(f32::from_le_bytes(cursor.array("an array")?)))
                .collect::<Result<_, _>>()
                .map(Self::Floats),
            8 => (0..count).map(|_| cursor.string("an array of strings")).collect::<Result<_, _>>().map(Self::Strings),
            7 => (0..count).try_for_each(|_| cursor.array::<1>("an array").map(drop)).map(|()| Self::Ignored),
            12 => (0..count).try_for_each(|_| cursor.array::<8>("an array").map(drop)).map(|()| Self::Ignored),
            code => (0..count).map(|_| integer(cursor, code)).collect::<Result<_, _>>().map(Self::Integers),
        }
    }
}

/// An integer of the type `code`; a u64 over the range of i64 is cut to it, in arrays alone.
fn integer<R: Read>(cursor: &mut Cursor<R>, code: u32) -> Result<i64, GgufError> {
    const WHAT: &str = "a metadata value";
    Ok(match code {
        0 => cursor.array::<1>(WHAT)?[0].into(),
        1 => i8::from_le_bytes(cursor.array(WHAT)?).into(),
        2 => u16::from_le_bytes(cursor.array(WHAT)?).into(),
        3 => i16::from_le_bytes(cursor.array(WHAT)?).into(),
        4 => u32::from_le_bytes(cursor.array(WHAT)?).into(),
        5 => i32::from_le_bytes(cursor.array(WHAT)?).into(),
        10 => i64::try_from(cursor.u64(WHAT)?).unwrap_or(i64::MAX),
        11 => i64::from_le_bytes(cursor.array(WHAT)?),
        code => return Err(GgufError::ValueType(code)),
    })
}

/// The shortest decimal that is this f32, as f64: 1e-5 stored as f32 means 1e-5, not 9.999999747378752e-6.
fn shortest(value: f32) -> f64 {
    value.to_string().parse().unwrap_or(f64::from(value))
}
