//! The accountants against published values: dp-accounting 0.6.0, mpmath at 60 digits, and others (see the vectors' README).
//!
//! The vectors lie in `CONSORT_DP_VECTORS`, by default `../shared/vectors/dp` beside the workspace. Where they are absent
//! the tests say so and pass.

use std::path::PathBuf;

use crate::accountant::gaussian;
use crate::accountant::rdp;
use crate::calibrate::tests::sigma_of;
use crate::mechanism::{Mechanism, Relation, Unit, spend};
use crate::quantity::{Delta, NoiseMultiplier, SamplingRate, Steps};

/// The rows of a table with a header, as fields; quoted fields keep their commas.
fn rows(file: &str) -> Option<Vec<Vec<String>>> {
    let beside = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/vectors/dp");
    let folder =
        std::env::var_os("CONSORT_DP_VECTORS").map_or_else(|| PathBuf::from(beside), PathBuf::from);
    let path = folder.join(file);
    let Ok(text) = std::fs::read_to_string(&path) else {
        eprintln!(
            "known answers were not checked: {} is absent; set CONSORT_DP_VECTORS",
            path.display()
        );
        return None;
    };
    Some(text.lines().skip(1).map(fields).collect())
}

fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => fields.last_mut().unwrap().push(other),
        }
    }
    fields
}

fn number(field: &str) -> f64 {
    field.parse().unwrap()
}

fn release(sigma: &str, q: &str, steps: &str, relation: Relation) -> Mechanism {
    let (sigma, q) = (
        NoiseMultiplier::new(number(sigma)).unwrap(),
        SamplingRate::new(number(q)).unwrap(),
    );
    Mechanism::new(
        sigma,
        q,
        Steps::new(steps.parse().unwrap()).unwrap(),
        relation,
        Unit::Record,
    )
}

fn delta(field: &str) -> Delta {
    Delta::new(number(field)).unwrap()
}

#[track_caller]
fn assert_close(found: f64, expected: f64, relative: f64, row: &[String]) {
    assert!(
        (found - expected).abs() <= relative * expected.abs(),
        "{found} is not {expected}: {row:?}"
    );
}

#[test]
fn rdp_epsilons_at_integer_orders_are_those_of_dp_accounting() {
    for row in rows("kat_epsilon.csv").unwrap_or_default() {
        let found = spend(
            &[release(&row[2], &row[1], &row[3], Relation::AddRemove)],
            delta(&row[4]),
        )
        .unwrap();
        // Ten digits are given.
        assert_close(found.rdp().value(), number(&row[7]), 1e-8, &row);
    }
}

#[test]
fn renyi_divergences_at_integer_orders_are_those_of_mpmath() {
    for row in rows("kat_rdp_orders.csv").unwrap_or_default() {
        if let Ok(order) = row[2].parse() {
            assert_close(
                rdp::tests::one_step(order, number(&row[0]), number(&row[1])),
                number(&row[3]),
                1e-10,
                &row,
            );
            if let Ok(expected) = row[4].parse() {
                assert_close(
                    rdp::tests::one_step(order, number(&row[0]), number(&row[1])),
                    expected,
                    1e-12,
                    &row,
                );
            }
        }
    }
}

#[test]
fn the_gaussian_curve_is_exact_to_the_digits_given() {
    for row in rows("kat_gaussian_analytic.csv").unwrap_or_default() {
        match row[3].as_str() {
            "eps from sigma" => {
                let found = gaussian::epsilon(1.0 / number(&row[0]), delta(&row[1])).value();
                assert_close(found, number(&row[2]), 1e-11, &row);
            }
            "sigma from eps" => assert_close(
                sigma_of(number(&row[2]), number(&row[1]), 1),
                number(&row[0]),
                1e-11,
                &row,
            ),
            other => panic!("{other} is no kind of row"),
        }
    }
}

#[test]
fn full_batch_epsilons_lie_at_or_just_below_the_pessimistic_pld() {
    let table = rows("kat_epsilon.csv").unwrap_or_default();
    for row in table.iter().filter(|row| number(&row[1]) >= 1.0) {
        let found = spend(
            &[release(&row[2], &row[1], &row[3], Relation::AddRemove)],
            delta(&row[4]),
        )
        .unwrap();
        let (exact, pessimistic) = (found.exact().unwrap().value(), number(&row[9]));
        // Connect-the-dots is an upper bound, within 1e-3 at this grid.
        assert!(
            exact <= pessimistic * (1.0 + 1e-9) && exact > pessimistic * 0.999,
            "{exact}: {row:?}"
        );
    }
}

#[test]
fn full_batch_multipliers_lie_at_or_just_below_those_of_the_pld() {
    let table = rows("kat_noise_multiplier.csv").unwrap_or_default();
    for row in table.iter().filter(|row| number(&row[1]) >= 1.0) {
        let sigma = sigma_of(number(&row[4]), number(&row[3]), row[2].parse().unwrap());
        // Five decimals from a search that stops at 1e-4 relative.
        assert_close(sigma, number(&row[7]), 2e-4, row);
    }
}

#[test]
fn replace_one_costs_what_google_s_accountant_says() {
    let table = rows("kat_neighbouring.csv").unwrap_or_default();
    for row in table.iter().filter(|row| number(&row[0]) >= 1.0) {
        let epsilon = |relation| {
            let found = spend(
                &[release(&row[1], &row[0], &row[2], relation)],
                delta(&row[3]),
            )
            .unwrap();
            found.exact().unwrap().value()
        };
        assert_close(epsilon(Relation::AddRemove), number(&row[4]), 1e-4, row);
        assert_close(epsilon(Relation::ReplaceOne), number(&row[6]), 1e-4, row);
    }
}

#[test]
fn the_continuous_curve_is_the_limit_of_the_discrete_gaussian() {
    for row in rows("kat_discrete_gaussian.csv").unwrap_or_default() {
        let mu = number(&row[1]) * number(&row[2]).sqrt() / number(&row[0]);
        assert_close(
            gaussian::epsilon(mu, delta(&row[3])).value(),
            number(&row[6]),
            1e-9,
            &row,
        );
    }
}
