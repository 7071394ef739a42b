//! A check and its reason, and the checks removed one after the other, by which the verifier's tests are tried.

use std::fmt::Display;

/// One check: it holds, or its reason, which shows as its code, is the verdict.
#[track_caller]
pub(crate) fn require<C: Copy + Display>(holds: bool, check: C) -> Result<(), C> {
    #[cfg(test)]
    let holds = holds || mutants::is_removed(std::panic::Location::caller(), &check);
    if holds { Ok(()) } else { Err(check) }
}

/// Checks removed one at a time, at run time: a mutation run over the verifier without compiling it once per mutant (mutant
/// schemata; Untch, Offutt and Harrold, ISSTA 1993).
#[cfg(test)]
pub(crate) mod mutants {
    use std::cell::RefCell;
    use std::collections::BTreeSet;
    use std::panic::Location;

    /// Which check, by its code, and where it stands: file and line.
    pub(crate) type Site = (String, &'static str, u32);

    thread_local! {
        static REMOVED: RefCell<Option<Site>> = const { RefCell::new(None) };
        static SEEN: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
    }

    pub(super) fn is_removed(
        location: &'static Location<'static>,
        check: &impl std::fmt::Display,
    ) -> bool {
        let site = (check.to_string(), location.file(), location.line());
        let removed = REMOVED.with_borrow(|removed| removed.as_ref() == Some(&site));
        SEEN.with_borrow_mut(|seen| seen.insert(site));
        removed
    }

    /// Runs something in a verifier that lacks this check.
    pub(crate) fn without<T>(site: Site, run: impl FnOnce() -> T) -> T {
        REMOVED.set(Some(site));
        let result = run();
        REMOVED.set(None);
        result
    }

    /// The checks that were made on this thread since the last call.
    pub(crate) fn seen() -> BTreeSet<Site> {
        SEEN.take()
    }
}
