//! The project's canonical encoding, read and written: each part is a 4-byte big-endian length and that many bytes, an
//! integer is a part of 8 big-endian bytes, the first part is the label.

/// Writes an encoding, part by part.
pub(crate) struct Writer(Vec<u8>);

impl Writer {
    /// An encoding that begins with a label.
    pub(crate) fn labelled(label: &str) -> Self {
        Self::bare().bytes(label.as_bytes())
    }

    /// Parts alone, after bytes that stand for the label already.
    pub(crate) fn bare() -> Self {
        Self(Vec::new())
    }

    /// Adds a part.
    pub(crate) fn bytes(mut self, part: &[u8]) -> Self {
        let length = u32::try_from(part.len()).expect("a part is far below 4 GiB");
        self.0.extend_from_slice(&length.to_be_bytes());
        self.0.extend_from_slice(part);
        self
    }

    /// Adds an integer.
    pub(crate) fn u64(self, value: u64) -> Self {
        self.bytes(&value.to_be_bytes())
    }

    /// The encoding.
    pub(crate) fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads an encoding strictly: what is missing, of another length, or left over makes it none.
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins after the label, when it is this one.
    pub(crate) fn labelled(bytes: &'a [u8], label: &str) -> Option<Self> {
        let mut reader = Self(bytes);
        (reader.bytes()? == label.as_bytes()).then_some(reader)
    }

    /// The next part.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (part, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(part)
    }

    /// The next part, of exactly this many bytes.
    pub(crate) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.bytes()?.try_into().ok()
    }

    /// The next part as text.
    pub(crate) fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    /// The next part as an integer.
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_be_bytes)
    }

    /// Nothing may follow.
    pub(crate) fn end(self) -> Option<()> {
        self.0.is_empty().then_some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_prefix_and_every_extension_of_an_encoding_is_refused() {
        fn read(bytes: &[u8]) -> Option<(u64, Vec<u8>)> {
            let mut reader = Reader::labelled(bytes, "consort/test/v1")?;
            let value = (reader.u64()?, reader.bytes()?.to_vec());
            reader.end()?;
            Some(value)
        }
        let bytes = Writer::labelled("consort/test/v1")
            .u64(7)
            .bytes(b"part")
            .finish();
        assert_eq!(read(&bytes), Some((7, b"part".to_vec())));
        for end in 0..bytes.len() {
            assert_eq!(read(&bytes[..end]), None, "a prefix of {end} bytes");
        }
        assert_eq!(read(&[bytes.as_slice(), &[0]].concat()), None);
    }
}
