//! Divides the breast-cancer data among made-up clinics of different size and different mix of cases.
//!
//! The division depends on the number of clinics alone, so every run of the demo trains on the same records.

use super::site::{Site, Table};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

/// Fewest clinics: with two, each would learn the other's update from the sum.
pub(crate) const MIN_CLINICS: usize = 3;

/// Most clinics: at 50 each still gets [`MIN_PER_CLASS`] of the 212 malignant cases.
pub(crate) const MAX_CLINICS: usize = 50;

/// Fewest records of each class at a clinic: three to train on and one held out.
const MIN_PER_CLASS: usize = 4;

/// One record in this many is held out (rounded down, so a fifth to a quarter of a clinic of 12 or more).
const HELD_OUT_ONE_IN: usize = 4;

/// Size of the largest clinic over that of the smallest, before the minimum of each class.
const SIZE_SKEW: f64 = 3.0;

/// Odds of a malignant case at the clinic that sees most of them over those at the one that sees fewest.
const CASE_SKEW: f64 = 4.0;

/// Start of the generator that shuffles; fixed before any result was seen.
const SPLIT_SEED: u64 = 1;

/// The data set, 569 rows (`cli/data/README.md` says where it comes from).
const DATA: &str = include_str!("../../data/breast_cancer.csv");

/// A number of clinics outside [`MIN_CLINICS`]..=[`MAX_CLINICS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the demo divides its data among {MIN_CLINICS} to {MAX_CLINICS} clinics, not {0}")]
pub(crate) struct ClinicCount(pub(crate) usize);

/// Divides the data among `count` clinics, each with malignant and benign cases both to train on and held out.
///
/// # Errors
/// [`ClinicCount`] if there cannot be so many or so few.
pub(crate) fn clinics(count: usize) -> Result<Vec<Site>, ClinicCount> {
    if !(MIN_CLINICS..=MAX_CLINICS).contains(&count) {
        return Err(ClinicCount(count));
    }
    let table = data();
    let mut rng = ChaCha20Rng::seed_from_u64(SPLIT_SEED);
    let (sizes, odds) = skews(count, &mut rng);
    let tilted: Vec<f64> = sizes.iter().zip(&odds).map(|(s, o)| s * o).collect();
    let malignant = deal(rows_where(&table, "1"), &tilted, &mut rng);
    let benign = deal(rows_where(&table, "0"), &sizes, &mut rng);
    let sites = malignant.into_iter().zip(benign).enumerate();
    Ok(sites
        .map(|(index, (malignant, benign))| {
            site(format!("clinic-{}", index + 1), &table, malignant, benign)
        })
        .collect())
}

/// The whole data set, its rows in the order of the source.
pub(crate) fn data() -> Table {
    let mut lines = DATA
        .lines()
        .map(|line| line.split(',').map(str::to_owned).collect());
    Table {
        header: lines.next().unwrap_or_default(),
        rows: lines.collect(),
    }
}

/// Weights of size and odds of a malignant case of each clinic, both evenly spread and independently shuffled.
fn skews(count: usize, rng: &mut ChaCha20Rng) -> (Vec<f64>, Vec<f64>) {
    let spread = |ratio: f64| {
        (0..count)
            .map(|index| index as f64 / (count - 1) as f64)
            .map(|place| ratio.powf(place - 0.5))
            .collect::<Vec<_>>()
    };
    let (mut sizes, mut odds) = (spread(SIZE_SKEW), spread(CASE_SKEW));
    shuffle(&mut sizes, rng);
    shuffle(&mut odds, rng);
    (sizes, odds)
}

/// Deals shuffled rows to the clinics in proportion to their weights, and at least [`MIN_PER_CLASS`] to each.
fn deal(mut rows: Vec<usize>, weights: &[f64], rng: &mut ChaCha20Rng) -> Vec<Vec<usize>> {
    shuffle(&mut rows, rng);
    let shares = apportion(rows.len(), weights);
    let mut rest = rows.as_slice();
    shares
        .into_iter()
        .map(|share| {
            let (hand, after) = rest.split_at(share);
            rest = after;
            hand.to_vec()
        })
        .collect()
}

/// Whole shares of `total` by weight over a common minimum; what rounding leaves goes to the largest remainders.
fn apportion(total: usize, weights: &[f64]) -> Vec<usize> {
    let free = total - MIN_PER_CLASS * weights.len();
    let sum: f64 = weights.iter().sum();
    let exact: Vec<f64> = weights.iter().map(|w| free as f64 * w / sum).collect();
    let mut shares: Vec<usize> = exact.iter().copied().map(whole).collect();
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|&a, &b| exact[b].fract().total_cmp(&exact[a].fract()));
    let left = free - shares.iter().sum::<usize>();
    order
        .iter()
        .take(left)
        .for_each(|&index| shares[index] += 1);
    shares.iter().map(|share| share + MIN_PER_CLASS).collect()
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a share of 569 records is small and not negative"
)]
fn whole(share: f64) -> usize {
    share.floor() as usize
}

/// Holds out a share of the clinic's records, with malignant cases in the clinic's own proportion and at least one of each class.
fn site(name: String, table: &Table, malignant: Vec<usize>, benign: Vec<usize>) -> Site {
    let total = malignant.len() + benign.len();
    let held = total / HELD_OUT_ONE_IN;
    let of_malignant = ((held * malignant.len() + total / 2) / total).clamp(1, held - 1);
    let (held_malignant, train_malignant) = malignant.split_at(of_malignant);
    let (held_benign, train_benign) = benign.split_at(held - of_malignant);
    let select = |one: &[usize], other: &[usize]| {
        let mut rows = [one, other].concat();
        rows.sort_unstable();
        table.select(&rows)
    };
    Site {
        name,
        train: select(train_malignant, train_benign),
        held_out: select(held_malignant, held_benign),
    }
}

fn rows_where(table: &Table, label: &str) -> Vec<usize> {
    let rows = table.rows.iter().enumerate();
    rows.filter(|(_, row)| row.last().is_some_and(|field| field == label))
        .map(|(index, _)| index)
        .collect()
}

/// Fisher and Yates; the remainder's bias is below 2^-50 for lists so short.
pub(super) fn shuffle<T>(items: &mut [T], rng: &mut ChaCha20Rng) {
    for last in (1..items.len()).rev() {
        let other = rng.next_u64() % (last as u64 + 1);
        items.swap(last, usize::try_from(other).unwrap_or(last));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn malignant(table: &Table) -> usize {
        rows_where(table, "1").len()
    }

    #[test]
    fn the_data_set_is_whole() {
        let table = data();
        assert_eq!((table.rows.len(), table.header.len()), (569, 31));
        assert!(table.rows.iter().all(|row| row.len() == 31));
        assert_eq!(malignant(&table), 212);
    }

    #[test]
    fn every_record_is_at_exactly_one_clinic() {
        for count in MIN_CLINICS..=MAX_CLINICS {
            let sites = clinics(count).unwrap();
            let parts = sites.iter().flat_map(|site| [&site.train, &site.held_out]);
            let mut rows: Vec<_> = parts.flat_map(|table| table.rows.clone()).collect();
            let mut all = data().rows;
            rows.sort();
            all.sort();
            assert_eq!(rows, all, "{count} clinics");
        }
    }

    #[test]
    fn each_clinic_has_both_classes_in_both_parts_and_holds_out_a_fifth_to_a_quarter() {
        for count in MIN_CLINICS..=MAX_CLINICS {
            for site in clinics(count).unwrap() {
                for part in [&site.train, &site.held_out] {
                    assert!(
                        (1..part.rows.len()).contains(&malignant(part)),
                        "{}",
                        site.name
                    );
                }
                let held = site.held_out.rows.len();
                let total = held + site.train.rows.len();
                assert!(held * 4 <= total, "{count} clinics, {}", site.name);
                assert!(
                    held * 5 >= total || total < 12,
                    "{count} clinics, {}",
                    site.name
                );
            }
        }
    }

    #[test]
    fn clinics_differ_in_size_and_in_their_mix_of_cases() {
        let sites = clinics(5).unwrap();
        let total = |site: &Site| site.train.rows.len() + site.held_out.rows.len();
        let share = |site: &Site| malignant(&site.train) * 100 / site.train.rows.len();
        let (small, large) = (sites.iter().map(total).min(), sites.iter().map(total).max());
        let (least, most) = (sites.iter().map(share).min(), sites.iter().map(share).max());
        assert!(small.unwrap() * 2 < large.unwrap(), "{small:?} {large:?}");
        assert!(least.unwrap() + 20 < most.unwrap(), "{least:?} {most:?}");
    }

    #[test]
    fn the_division_is_the_same_in_every_run() {
        assert!(clinics(7) == clinics(7));
    }

    #[test]
    fn too_few_and_too_many_clinics_are_refused() {
        assert_eq!(clinics(2).err(), Some(ClinicCount(2)));
        assert_eq!(clinics(51).err(), Some(ClinicCount(51)));
    }
}
