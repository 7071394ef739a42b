//! FedYogi: v = v − (1 − β₂)·a²·sign(v − a²) (Reddi et al. 2021, algorithm 2, line 15, middle).

use super::Adaptive;

/// v stays above 0: it falls by a share of what is below it.
pub(super) fn second_moment(rule: &Adaptive, old: f32, square: f32) -> f32 {
    let (_, new) = rule.kept_and_new();
    let change = new * square;
    if old > square {
        old - change
    } else if old < square {
        old + change
    } else {
        old
    }
}
