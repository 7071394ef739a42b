//! The position of an organisation in its job.

use std::{fmt, num::NonZeroU32};

/// The 1-based position of an organisation in the job's sorted member list, and the x-coordinate of its Shamir shares.
///
/// Zero is not a member: the polynomial at zero is the secret itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberIndex(NonZeroU32);

impl MemberIndex {
    /// The member at this position, or `None` for zero.
    #[must_use]
    pub fn new(position: u32) -> Option<Self> {
        NonZeroU32::new(position).map(Self)
    }

    /// The position, at least 1.
    #[must_use]
    pub fn get(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for MemberIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zero_is_not_a_member() {
        assert!(MemberIndex::new(0).is_none());
        assert_eq!(MemberIndex::new(1).unwrap().get(), 1);
    }
}
