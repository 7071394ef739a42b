//! What every secret type shares: a `Debug` that shows the type and the length, never the content.

/// Implements `Debug` for a secret of a fixed length.
macro_rules! redacted_debug {
    ($secret:ident, $bytes:literal) => {
        impl std::fmt::Debug for $secret {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($secret), "(", $bytes, " bytes)"))
            }
        }
    };
}

pub(crate) use redacted_debug;
