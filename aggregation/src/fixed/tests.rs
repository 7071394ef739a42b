use super::{FixedPoint, FixedPointError, Layer, MAX_QUANTISED, ROTATION_BLOCK, RotationSeed};
use proptest::prelude::{prop_assert, proptest};
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

fn encoded(fixed: &FixedPoint, values: &[f32], seed: u64) -> Vec<i64> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let layers = [Layer {
        name: "all",
        elements: values.len(),
    }];
    let mut integers = Vec::new();
    let mut values = values.to_vec();
    fixed
        .encode(&mut values, &layers, &mut rng, |piece| {
            integers.extend_from_slice(piece);
        })
        .unwrap();
    assert!(values.iter().all(|&value| value == 0.0));
    integers
}

/// Numbers of (−1, 1).
#[expect(clippy::cast_precision_loss, reason = "test inputs")]
fn some_values(elements: usize, seed: u64) -> Vec<f32> {
    let mut rng = ChaCha20Rng::seed_from_u64(seed);
    let mut value = || rng.next_u32().cast_signed() as f32 / 2_147_483_648.0;
    (0..elements).map(|_| value()).collect()
}

#[test]
fn numbers_that_make_no_grid_are_refused() {
    let code = |norm, range, q| FixedPoint::new(norm, range, q, None).unwrap_err().code();
    assert_eq!(code(0.0, 1.0, 1), "fixed_point_norm");
    assert_eq!(code(f64::NAN, 1.0, 1), "fixed_point_norm");
    assert_eq!(code(1.0, f64::INFINITY, 1), "fixed_point_range");
    assert_eq!(code(1.0, 1e-320, 1000), "fixed_point_range");
    assert_eq!(code(1.0, 1.0, 0), "fixed_point_range");
    assert_eq!(code(1.0, 1.0, 1 << 31), "fixed_point_quantised");
}

#[test]
fn a_nan_is_refused_with_its_layer_and_nothing_is_given_out() {
    let fixed = FixedPoint::new(1.0, 1.0, 100, None).unwrap();
    let layers = [("conv", 2), ("head", 3)].map(|(name, elements)| Layer { name, elements });
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut values = [0.1, 0.2, 0.3, bad, 0.5];
        let error = fixed
            .encode(&mut values, &layers, &mut rng, |_| panic!("given out"))
            .unwrap_err();
        let expected = FixedPointError::NotFinite {
            layer: "head".into(),
            element: 1,
        };
        assert_eq!(error, expected);
        assert_eq!(values[0], 0.1);
    }
    let error = fixed
        .encode(&mut [0.0; 4], &layers, &mut rng, |_| ())
        .unwrap_err();
    assert_eq!(error.code(), "fixed_point_layers");
}

#[test]
fn the_norm_is_clipped_and_a_single_element_is_cut_at_the_range() {
    let fixed = FixedPoint::new(5.0, 100.0, 100_000, None).unwrap();
    // A norm of 50 becomes 5: (3, 4) in steps of 1/1000.
    assert_eq!(encoded(&fixed, &[30.0, 40.0], 1), [3000, 4000]);
    let cut = FixedPoint::new(100.0, 1.0, 10, None).unwrap();
    assert_eq!(encoded(&cut, &[-7.0, 0.0, 1.5], 1), [-10, 0, 10]);
}

#[test]
fn integers_stay_what_they_are() {
    let q = 1 << 15;
    let fixed = FixedPoint::new(1e9, f64::from(q), q, None).unwrap();
    for seed in 0..50 {
        assert_eq!(
            encoded(&fixed, &[-32768.0, -1.0, 0.0, 1.0, 32768.0], seed),
            [-32768, -1, 0, 1, 32768]
        );
    }
}

#[test]
fn the_largest_grid_never_leaves_its_bound() {
    let fixed = FixedPoint::new(1e30, 1.0, MAX_QUANTISED, None).unwrap();
    for seed in 0..50 {
        let most = i64::from(MAX_QUANTISED);
        assert_eq!(
            encoded(&fixed, &[-2.0, -1.0, 1.0, 2.0], seed),
            [-most, -most, most, most]
        );
    }
}

#[test]
fn rounding_goes_to_a_neighbour_and_its_expectation_is_the_number() {
    // 100 000 draws of a variable in {0, 1} steps: a standard deviation of at most 0.5/√100 000 = 0.0016; the bound is six of them.
    let draws = 100_000;
    let fixed = FixedPoint::new(1e9, 10.0, 10, None).unwrap();
    for value in [-2.75_f32, -0.3, 0.001, 0.5, 3.9] {
        let integers = encoded(&fixed, &vec![value; draws], 7);
        let floor = f64::from(value).floor();
        assert!(
            integers
                .iter()
                .all(|&i| i as f64 == floor || i as f64 == floor + 1.0)
        );
        let mean = integers.iter().sum::<i64>() as f64 / draws as f64;
        assert!((mean - f64::from(value)).abs() < 0.01, "{value} {mean}");
    }
}

#[test]
fn a_rotation_spreads_one_spike_over_its_block() {
    let mut values = vec![0.0; 3 * ROTATION_BLOCK];
    values[ROTATION_BLOCK + 17] = 64.0;
    let seed = RotationSeed::of_round("job", 1);
    let fixed = FixedPoint::new(64.0, 1.0, 1 << 20, Some(seed)).unwrap();
    let integers = encoded(&fixed, &values, 3);
    // 64/√4096 = 1: every element of the block is ±Q, all others are 0.
    let (before, rest) = integers.split_at(ROTATION_BLOCK);
    let (block, after) = rest.split_at(ROTATION_BLOCK);
    assert!(block.iter().all(|&i| i.abs() == 1 << 20));
    assert!(before.iter().chain(after).all(|&i| i == 0));
    assert!(block.iter().any(|&i| i > 0) && block.iter().any(|&i| i < 0));
}

#[test]
fn rounds_and_jobs_rotate_differently() {
    assert_ne!(
        RotationSeed::of_round("a", 1),
        RotationSeed::of_round("a", 2)
    );
    assert_ne!(
        RotationSeed::of_round("a", 1),
        RotationSeed::of_round("b", 1)
    );
}

proptest! {
    #[test]
    fn what_is_encoded_comes_back_within_a_step_in_each_element(elements in 1_usize..9000, seed: u64) {
        let values = some_values(elements, seed);
        let fixed = FixedPoint::new(1e6, 1.0, 1 << 15, None).unwrap();
        let back = fixed.decode_average(&encoded(&fixed, &values, seed), 1);
        for (value, back) in values.iter().zip(back) {
            prop_assert!((value - back).abs() <= 1.0 / 32768.0 + 1e-6);
        }
    }

    #[test]
    fn a_rotation_is_undone(elements in 1_usize..9000, seed: u64) {
        let values = some_values(elements, seed);
        let rotation = Some(RotationSeed::of_round("job", 3));
        let fixed = FixedPoint::new(1e6, 200.0, 1 << 30, rotation).unwrap();
        let sum = encoded(&fixed, &values, seed);
        let back = fixed.decode_average(&sum, 1);
        for workers in 2..5 {
            let workers = std::num::NonZeroUsize::new(workers).unwrap();
            prop_assert!(fixed.decode_average_with(&sum, 1, workers) == back, "{workers}");
        }
        for (value, back) in values.iter().zip(back) {
            // f32 arithmetic over 12 stages: a relative error of about 12·2^-24 of the largest rotated element.
            prop_assert!((value - back).abs() <= 1e-3, "{} {}", value, back);
        }
    }
}
