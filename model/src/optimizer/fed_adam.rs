//! FedAdam: v = β₂·v + (1 − β₂)·a² (Reddi et al. 2021, algorithm 2, line 15, right).

use super::Adaptive;

pub(super) fn second_moment(rule: &Adaptive, old: f32, square: f32) -> f32 {
    let (kept, new) = rule.kept_and_new();
    let kept = kept * old;
    let new = new * square;
    kept + new
}
