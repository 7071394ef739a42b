//! Handwritten digits divided among sites, and a softmax regression on them: a job of ten classes for the tests of utility.
//!
//! A pixel says how much of a square of 4 × 4 is ink, 0 to 16. Ink is taken to cover a third of the paper: center 5, and scale 6, near the
//! deviation of such a mixture. Rounds, step and clip norm were compared on four divisions of the same public records other than the one
//! here: the accuracy says that private training works on these records, not how it does on new ones.

use consort_contract::JobDocument;
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;
use serde_json::{Value, json};

use super::clinics::shuffle;
use super::site::{Site, Table};

/// The data set, 1797 rows (`cli/data/README.md` says where it comes from).
const DATA: &str = include_str!("../../data/digits.csv");

/// Start of the generator that shuffles; fixed before any result was seen.
const SPLIT_SEED: u64 = 1;

/// One record in so many is held out.
const HELD_OUT_ONE_IN: usize = 5;

/// Divides the records evenly.
pub(super) fn digits(sites: usize) -> Vec<Site> {
    let mut lines = DATA
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect());
    let table = Table {
        header: lines.next().unwrap(),
        rows: lines.collect(),
    };
    let mut rows: Vec<usize> = (0..table.rows.len()).collect();
    shuffle(&mut rows, &mut ChaCha20Rng::seed_from_u64(SPLIT_SEED));
    let one = |site: usize| {
        let own: Vec<usize> = rows.iter().copied().skip(site).step_by(sites).collect();
        let (held_out, train) = own.split_at(own.len() / HELD_OUT_ONE_IN);
        Site {
            name: format!("clinic-{}", site + 1),
            train: table.select(train),
            held_out: table.select(held_out),
        }
    };
    (0..sites).map(one).collect()
}

/// The job of so many sites. `minimum` is n_min; without it the contract's default.
pub(super) fn job(sites: usize, epsilon: f64, minimum: Option<usize>) -> JobDocument {
    let pixel = |place: usize| json!({"numeric": {"column": format!("p{place}"), "center": 5, "scale": 6, "clip": 3}});
    let features: Vec<Value> = (0..64).map(pixel).collect();
    let members: Vec<String> = (1..=sites).map(|site| format!("clinic-{site}")).collect();
    let document = json!({
        "name": "digits", "purpose": "research", "dataset": "digits", "members": members,
        "data": {"features": features, "target": {"column": "digit", "classes": 10}},
        "model": {"layers": [{"dense": {"outputs": 10}}], "loss": "cross_entropy"},
        "dp_fedsgd": {
            "rounds": 20, "clip": 0.5, "learning_rate": 1.2, "momentum": 0.9, "divisor": 1400,
            "loss_weight": 0.2, "max_records_per_member": 1000
        },
        "privacy": {"epsilon": epsilon, "delta": 1e-5},
        "aggregation": {"minimum": minimum}
    });
    serde_json::from_value(document).unwrap()
}
