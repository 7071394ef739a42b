//! The clipped sum against automatic differentiation, one record at a time, and at its limits.

mod layers;

use super::*;
use crate::{LossWeight, oracle, reference};
use consort_model::{Layer, Loss};
use consort_privacy::{ClipNorm, Grid, GridBits};
use proptest::prelude::*;

const CAP: u32 = 1000;

/// A model, its parameters and records, small enough for the naive loop.
#[derive(Debug, Clone)]
struct Case {
    spec: ModelSpec,
    parameters: Vec<f32>,
    features: Vec<f32>,
    labels: Vec<f32>,
}

impl Case {
    fn parameters(&self) -> Parameters {
        Parameters::new(&self.spec, self.parameters.clone()).unwrap()
    }

    fn batch(&self) -> Batch<'_> {
        Batch::new(&self.features, &self.labels, self.spec.inputs()).unwrap()
    }

    fn sum(&self, clipping: &Clipping) -> ClippedSum {
        let cap = RecordCap::new(CAP).unwrap();
        clipped_sum(&self.spec, &self.parameters(), &self.batch(), clipping, cap).unwrap()
    }

    /// Σ of clipped (gradient, loss) by automatic differentiation, one record at a time, in floats.
    fn naive_sum(&self, clipping: &Clipping) -> Vec<f64> {
        let mut sum = vec![0.0; sum_elements(&self.spec)];
        let unit = clipping.grid().unit();
        let longest = clipping.longest_gradient(self.spec.parameter_count()) * unit;
        let cap = self.spec.loss_cap();
        let weight = clipping.loss_weight().value() * f64::from(clipping.grid().clip().value());
        for record in oracle::per_record(&self.spec, &self.parameters(), &self.batch()) {
            let square = |value: &f32| f64::from(*value) * f64::from(*value);
            let norm = record.gradient.iter().map(square).sum::<f64>().sqrt();
            let scale = (longest / norm).min(1.0);
            let loss = f64::from(record.loss).min(cap) * weight / cap;
            let scaled = record
                .gradient
                .iter()
                .map(|value| f64::from(*value) * scale);
            sum.iter_mut()
                .zip(scaled.chain([loss]))
                .for_each(|(sum, value)| *sum += value);
        }
        sum
    }
}

fn clipping(norm: f32, weight: f64) -> Clipping {
    let grid = Grid::new(ClipNorm::new(norm).unwrap(), GridBits::new(26).unwrap());
    Clipping::new(grid, LossWeight::new(weight).unwrap())
}

#[expect(clippy::cast_precision_loss, reason = "sums of a few records")]
fn in_units(sum: ClippedSum) -> Vec<f64> {
    let unit = sum.sum.grid().unit();
    let integers = sum.sum.dangerous_into_integers();
    integers.iter().map(|value| *value as f64 * unit).collect()
}

fn hidden_layers() -> impl Strategy<Value = Vec<Layer>> {
    let layer = prop_oneof![
        (1..6_u32).prop_map(|outputs| Layer::Dense { outputs }),
        // Enough outputs that they lie side by side in memory.
        (16..20_u32).prop_map(|outputs| Layer::Dense { outputs }),
        Just(Layer::Relu),
        Just(Layer::Tanh),
    ];
    prop::collection::vec(layer, 0..5)
}

/// A loss, how many outputs it reads, and labels that it knows, made of bytes.
fn losses() -> impl Strategy<Value = (Loss, u32, fn(u8) -> f32)> {
    prop_oneof![
        Just((
            Loss::BinaryCrossEntropy,
            1,
            (|byte| f32::from(byte % 2)) as fn(u8) -> f32
        )),
        Just((
            Loss::CrossEntropy,
            3,
            (|byte| f32::from(byte % 3)) as fn(u8) -> f32
        )),
        Just((
            Loss::SquaredError,
            1,
            (|byte| f32::from(byte) / 64.0 - 2.0) as fn(u8) -> f32
        )),
        Just((
            Loss::Poisson,
            1,
            (|byte| f32::from(byte % 8)) as fn(u8) -> f32
        )),
    ]
}

fn case(records: impl Into<prop::collection::SizeRange>) -> impl Strategy<Value = Case> {
    let shape = (1..6_u32, hidden_layers());
    cases(shape, records)
}

/// Records of models of some widths and hidden layers, to which a loss and a last layer are added.
fn cases(
    shape: impl Strategy<Value = (u32, Vec<Layer>)>,
    records: impl Into<prop::collection::SizeRange>,
) -> impl Strategy<Value = Case> {
    let labels = prop::collection::vec(any::<u8>(), records);
    (shape, losses(), labels).prop_flat_map(
        |((inputs, mut layers), (loss, outputs, label), labels)| {
            layers.push(Layer::Dense { outputs });
            let spec = ModelSpec::new(inputs, layers, loss).unwrap();
            // Wide layers would drive e^z, and with it what f32 rounds, past what the tolerances are made for.
            let most = if spec
                .operations()
                .iter()
                .any(|one| one.output.elements() > 15)
            {
                0.4
            } else {
                1.5_f32
            };
            let most = if loss == Loss::Poisson {
                most / 3.0
            } else {
                most
            };
            let parameters = prop::collection::vec(-most..most, spec.parameter_count());
            let features = prop::collection::vec(-3_f32..3.0, labels.len() * inputs as usize);
            (parameters, features).prop_map(move |(parameters, features)| Case {
                spec: spec.clone(),
                parameters,
                features,
                labels: labels.iter().map(|byte| label(*byte)).collect(),
            })
        },
    )
}

/// Largest difference between two vectors.
fn distance(left: &[f64], right: &[f64]) -> f64 {
    assert_eq!(left.len(), right.len());
    left.iter()
        .zip(right)
        .map(|(left, right)| (left - right).abs())
        .fold(0.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    // Rounding moves a coordinate by at most a unit, C/2^26, per record: below 1e-6 for the sums here. The rest is float error.
    #[test]
    fn the_sum_equals_the_naive_loop_over_records(
        case in case(0..8),
        norm in 0.05_f32..4.0,
        weight in 0.0_f64..0.9,
    ) {
        let rule = clipping(norm, weight);
        prop_assert!(distance(&in_units(case.sum(&rule)), &case.naive_sum(&rule)) < 1e-5);
    }

    #[test]
    fn without_clipping_the_sum_is_the_gradient_of_the_whole_batch(case in case(1..8)) {
        let rule = clipping(1000.0, 0.0);
        let mean = reference::mean_gradient(&case.spec, &case.parameters(), &case.batch()).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "at most 8 records")]
        let records = case.labels.len() as f64;
        let mut expected: Vec<f64> = mean.iter().map(|value| f64::from(*value) * records).collect();
        expected.push(0.0);
        // Here the unit is 1000/2^26 = 1.5e-5, off by at most one per record; gradients reach some hundreds.
        let slack = 2e-5 * records + 1e-6 * expected.iter().fold(0.0_f64, |most, value| most.max(value.abs()));
        prop_assert!(distance(&in_units(case.sum(&rule)), &expected) < slack);
    }

    #[test]
    fn one_record_never_weighs_more_than_the_clip_norm(case in case(1), norm in 0.01_f32..2.0, weight in 0.0_f64..0.99) {
        let integers = case.sum(&clipping(norm, weight)).sum.dangerous_into_integers();
        let square: u128 = integers.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum();
        prop_assert!(square <= 1 << 52);
    }
}

fn network(records: usize) -> Case {
    let layers = vec![
        Layer::Dense { outputs: 3 },
        Layer::Tanh,
        Layer::Dense { outputs: 1 },
    ];
    let spec = ModelSpec::new(2, layers, Loss::BinaryCrossEntropy).unwrap();
    let wave = |index: usize| (f32::from(u16::try_from(index).unwrap()) * 0.7).sin();
    Case {
        parameters: (0..spec.parameter_count()).map(wave).collect(),
        features: (0..2 * records).map(|index| wave(index * 3)).collect(),
        labels: (0..records)
            .map(|index| if index % 3 == 0 { 1.0 } else { 0.0 })
            .collect(),
        spec,
    }
}

/// 1000 records of wide layers: each thread passes several chunks through the same memory. The second feature of one drives the first
/// layer beyond f32; that of the others is 0.
fn one_overflows(at: usize) -> Case {
    let layers = vec![
        Layer::Dense { outputs: 20 },
        Layer::Relu,
        Layer::Dense { outputs: 20 },
        Layer::Relu,
        Layer::Dense { outputs: 1 },
    ];
    let mut case = network(1000);
    case.spec = ModelSpec::new(2, layers, Loss::BinaryCrossEntropy).unwrap();
    let wave = |index: usize| (f32::from(u16::try_from(index).unwrap()) * 0.7).sin();
    case.parameters = (0..case.spec.parameter_count()).map(wave).collect();
    case.parameters[20..40].fill(3e38);
    for (record, features) in case.features.chunks_exact_mut(2).enumerate() {
        features[1] = if record == at { 2.0 } else { 0.0 };
    }
    case
}

#[test]
fn a_record_that_overflows_moves_none_of_those_that_take_its_place_in_memory() {
    let rule = clipping(0.5, 0.25);
    for at in [0, 7, 95, 499, 500, 999] {
        let case = one_overflows(at);
        let mut without = case.clone();
        without.features.drain(2 * at..2 * at + 2);
        without.labels.remove(at);
        let (sum, expected) = (case.sum(&rule), without.sum(&rule));
        assert_eq!((sum.zeroed, expected.zeroed), (1, 0), "record {at}");
        assert_eq!(
            sum.sum.dangerous_into_integers(),
            expected.sum.dangerous_into_integers(),
            "record {at}"
        );
        let scores = crate::logits(&case.spec, &case.parameters(), &case.batch()).unwrap();
        let others = scores
            .iter()
            .enumerate()
            .filter(|(record, _)| *record != at);
        assert!(
            others
                .map(|(_, score)| score)
                .all(|score| score.is_finite())
        );
    }
}

#[test]
fn a_batch_of_many_chunks_equals_the_naive_loop() {
    let (case, rule) = (network(300), clipping(0.5, 0.25));
    // 300 records are off by at most 300 units of 0.5/2^26, below 3e-6, and shortened by 2^-22 of 0.5 each, below 4e-5.
    assert!(distance(&in_units(case.sum(&rule)), &case.naive_sum(&rule)) < 6e-5);
}

#[test]
fn chunks_add_up_bit_for_bit_however_they_are_spread() {
    // On a fine grid every thread's floats are full before its end, on a coarse one none's are.
    for bits in [12, 26] {
        let grid = Grid::new(ClipNorm::new(0.5).unwrap(), GridBits::new(bits).unwrap());
        adds_up(&Clipping::new(grid, LossWeight::new(0.25).unwrap()));
    }
}

fn adds_up(rule: &Clipping) {
    let case = network(300);
    let mut first = case.clone();
    first.labels.truncate(128);
    first.features.truncate(2 * 128);
    let mut second = case.clone();
    second.labels.drain(..128);
    second.features.drain(..2 * 128);
    let mut parts = first.sum(rule);
    let rest = second.sum(rule);
    parts.sum.merge(&rest.sum).unwrap();
    let whole = case.sum(rule);
    assert_eq!(parts.clipped + rest.clipped, whole.clipped);
    assert_eq!(
        parts.sum.dangerous_into_integers(),
        whole.sum.dangerous_into_integers()
    );
}

#[test]
fn an_empty_batch_sums_to_zero() {
    let sum = network(0).sum(&clipping(1.0, 0.5));
    assert_eq!((sum.clipped, sum.zeroed), (0, 0));
    assert_eq!(sum.sum.dangerous_into_integers(), [0; 14]);
}

#[test]
fn a_damaged_record_counts_as_zero_and_moves_no_other() {
    let rule = clipping(0.5, 0.25);
    let mut activation_first = network(5);
    let layers = vec![Layer::Relu, Layer::Tanh, Layer::Dense { outputs: 1 }];
    activation_first.spec = ModelSpec::new(2, layers, Loss::BinaryCrossEntropy).unwrap();
    activation_first.parameters = vec![0.5, -0.5, 0.1];
    for sound in [network(5), activation_first] {
        for damage in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut case = sound.clone();
            case.features.extend([damage, 0.5]);
            case.labels.push(1.0);
            let sum = case.sum(&rule);
            assert_eq!(sum.zeroed, 1);
            assert!(distance(&in_units(sum), &in_units(sound.sum(&rule))) < 1e-6);
        }
    }
}

#[test]
fn the_loss_coordinate_tells_the_sum_of_capped_losses() {
    let (case, rule) = (network(40), clipping(0.5, 0.25));
    let records = oracle::per_record(&case.spec, &case.parameters(), &case.batch());
    let cap = case.spec.loss_cap();
    let expected: f64 = records
        .iter()
        .map(|record| f64::from(record.loss).min(cap))
        .sum();
    // The last element is the sum in units, times w·C/cap.
    let told = *in_units(case.sum(&rule)).last().unwrap() * cap / (0.25 * 0.5);
    assert!((told - expected).abs() < 1e-4);
}

#[test]
fn a_site_with_more_records_than_the_cap_is_refused() {
    let case = network(3);
    let cap = RecordCap::new(2).unwrap();
    let rule = clipping(1.0, 0.0);
    let refused = clipped_sum(&case.spec, &case.parameters(), &case.batch(), &rule, cap);
    assert_eq!(refused.unwrap_err().code(), "privacy_too_many_records");
}

#[test]
fn parameters_of_another_model_are_refused() {
    let (case, other) = (
        network(3),
        ModelSpec::new(
            2,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .unwrap(),
    );
    let cap = RecordCap::new(CAP).unwrap();
    let rule = clipping(1.0, 0.0);
    let refused = clipped_sum(&other, &case.parameters(), &case.batch(), &rule, cap);
    assert_eq!(
        refused.unwrap_err().code(),
        "training_parameters_of_another_model"
    );
}
