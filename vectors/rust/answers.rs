//! Reads the known answers in tests: whatever is missing or of another kind fails the test that asked for it.

use serde_json::Value;

/// A file of `vectors/secure-aggregation`, as its text.
pub(super) fn read(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

/// The value at a place such as `/open/signature`.
pub(super) fn at<'a>(value: &'a Value, place: &str) -> &'a Value {
    value
        .pointer(place)
        .unwrap_or_else(|| panic!("the vectors have no {place}"))
}

pub(super) fn list<'a>(value: &'a Value, place: &str) -> &'a [Value] {
    at(value, place).as_array().unwrap()
}

pub(super) fn text<'a>(value: &'a Value, place: &str) -> &'a str {
    at(value, place).as_str().unwrap()
}

pub(super) fn number(value: &Value, place: &str) -> u64 {
    at(value, place).as_u64().unwrap()
}

/// An integer that fits what the code at hand takes.
pub(super) fn small<T: TryFrom<u64, Error: std::fmt::Debug>>(value: &Value, place: &str) -> T {
    T::try_from(number(value, place)).unwrap()
}

/// Hexadecimal text as bytes.
pub(super) fn bytes(value: &Value, place: &str) -> Vec<u8> {
    let text = text(value, place);
    assert_eq!(text.len() % 2, 0, "{place}");
    (0..text.len())
        .step_by(2)
        .map(|i| u8::from_str_radix(&text[i..i + 2], 16).unwrap())
        .collect()
}

pub(super) fn array<const N: usize>(value: &Value, place: &str) -> [u8; N] {
    bytes(value, place).try_into().unwrap()
}

pub(super) fn digest(value: &Value, place: &str) -> consort_aggregation::Digest {
    consort_aggregation::Digest::new(array(value, place))
}
