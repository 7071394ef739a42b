//! Sizes, speeds and ages as people write them in job files: a whole number and a unit.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Units of a size, largest first.
const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

/// Units of a speed, largest first.
const SPEEDS: [(&str, u64); 5] = [
    ("Tbps", 1_000_000_000_000),
    ("Gbps", 1_000_000_000),
    ("Mbps", 1_000_000),
    ("Kbps", 1_000),
    ("bps", 1),
];

/// Units of an age.
const AGES: [(&str, u64); 3] = [("days", 1), ("day", 1), ("d", 1)];

/// Bytes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Size(pub(crate) u64);

/// Bits per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Speed(pub(crate) u64);

/// Days.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Days(pub(crate) u32);

impl TryFrom<String> for Size {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        quantity(&text, &SIZES, "a size such as 128GB or 512MiB").map(Self)
    }
}

impl From<Size> for String {
    fn from(size: Size) -> Self {
        Amount(size.0, &SIZES).to_string()
    }
}

impl TryFrom<String> for Speed {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        quantity(&text, &SPEEDS, "a speed such as 25Gbps").map(Self)
    }
}

impl From<Speed> for String {
    fn from(speed: Speed) -> Self {
        Amount(speed.0, &SPEEDS).to_string()
    }
}

impl TryFrom<String> for Days {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let days = quantity(&text, &AGES, "an age such as 30days")?;
        u32::try_from(days)
            .map(Self)
            .map_err(|_| format!("{text:?} is far too long"))
    }
}

impl From<Days> for String {
    fn from(days: Days) -> Self {
        format!("{}days", days.0)
    }
}

/// A whole number, at least 1, and a unit.
fn quantity(text: &str, units: &[(&str, u64)], expected: &str) -> Result<u64, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim_start();
    let factor = units.iter().find(|(name, _)| *name == unit);
    let number: Option<u64> = number.parse().ok().filter(|number| *number > 0);
    number
        .zip(factor)
        .and_then(|(number, (_, factor))| number.checked_mul(*factor))
        .ok_or_else(|| {
            format!("{text:?} is not {expected}: a whole number above 0 and one of its units")
        })
}

/// A number in the largest unit that it is a whole number of.
struct Amount<'a>(u64, &'a [(&'a str, u64)]);

impl fmt::Display for Amount<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(number, units) = self;
        let whole = units
            .iter()
            .find(|(_, factor)| number.is_multiple_of(*factor));
        match whole {
            Some((unit, factor)) => write!(f, "{}{unit}", number / factor),
            None => write!(f, "{number}"),
        }
    }
}

/// Bytes as people write them.
pub fn size_text(bytes: u64) -> String {
    Size(bytes).into()
}

/// Bits per second as people write them.
pub fn speed_text(bits_per_second: u64) -> String {
    Speed(bits_per_second).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_are_read_with_their_units_and_written_as_they_were() {
        for (text, bytes) in [
            ("128GB", 128_000_000_000),
            ("1TB", 1_000_000_000_000),
            ("512 MiB", 512 << 20),
            ("7B", 7),
        ] {
            let size = Size::try_from(text.to_owned()).unwrap();
            assert_eq!(size.0, bytes, "{text}");
            assert_eq!(String::from(size), text.replace(' ', ""));
        }
        for text in [
            "",
            "GB",
            "0GB",
            "-1GB",
            "1.5GB",
            "12",
            "12 parsecs",
            "99999999999TB",
        ] {
            assert!(Size::try_from(text.to_owned()).is_err(), "{text}");
        }
        let speed = Speed::try_from("25Gbps".to_owned()).unwrap();
        assert_eq!(
            (speed.0, speed_text(speed.0)),
            (25_000_000_000, "25Gbps".to_owned())
        );
        assert_eq!(Days::try_from("30days".to_owned()).unwrap().0, 30);
        assert!(Days::try_from("30 weeks".to_owned()).is_err());
    }
}
