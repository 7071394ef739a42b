//! Whole-consortium stories on real processes: see `tests/stories`.
