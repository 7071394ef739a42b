//! Convolutions, pools, layer norms, residual blocks and embeddings against automatic differentiation.

use consort_model::EmbeddedColumn;

use super::*;

/// Elementwise layers and norms, which change no shape.
fn same() -> impl Strategy<Value = Layer> {
    prop_oneof![
        Just(Layer::Relu),
        Just(Layer::Tanh),
        Just(Layer::LayerNorm),
        Just(Layer::Residual {
            layers: vec![Layer::Tanh, Layer::LayerNorm]
        }),
    ]
}

/// An image of 1 to 3 channels, up to three convolutions of small and of wide outputs, with and without zeros around, pools, blocks of convolutions that keep the size.
fn images() -> impl Strategy<Value = (u32, Vec<Layer>)> {
    let convolution = (
        prop_oneof![1..4_u32, Just(16), Just(17)],
        1..4_u32,
        0..2_u32,
    );
    let block = prop_oneof![
        convolution.prop_map(|(outputs, kernel, padding)| vec![Layer::Conv2d {
            outputs,
            kernel,
            padding: padding.min(kernel - 1)
        }]),
        Just(vec![Layer::MaxPool]),
        same().prop_map(|layer| vec![layer]),
        // The channels of the block are those that enter it; which these are is filled in below.
        (1..4_u32).prop_map(|kernel| vec![Layer::Residual {
            layers: vec![
                Layer::Conv2d {
                    outputs: 0,
                    kernel: 2 * kernel - 1,
                    padding: kernel - 1
                },
                Layer::Tanh
            ]
        }]),
    ];
    let image = (1..4_u32, 1..7_u32, 1..7_u32);
    (image, prop::collection::vec(block, 0..4)).prop_map(|((channels, height, width), blocks)| {
        let inputs = channels * height * width;
        let mut layers = vec![Layer::Image {
            channels,
            height,
            width,
        }];
        let (mut channels, mut height, mut width) = (channels, height, width);
        for layer in blocks.into_iter().flatten() {
            match layer {
                Layer::Conv2d {
                    outputs,
                    kernel,
                    padding,
                } => {
                    if height.min(width) + 2 * padding < kernel {
                        continue;
                    }
                    height = height + 2 * padding - kernel + 1;
                    width = width + 2 * padding - kernel + 1;
                    channels = outputs;
                    layers.push(layer);
                }
                Layer::MaxPool if height < 2 || width < 2 => {}
                Layer::MaxPool => {
                    (height, width) = (height / 2, width / 2);
                    layers.push(layer);
                }
                Layer::Residual { layers: mut inner } => {
                    if let Layer::Conv2d { outputs, .. } = &mut inner[0] {
                        *outputs = channels;
                    }
                    layers.push(Layer::Residual { layers: inner });
                }
                Layer::Dense { .. }
                | Layer::Relu
                | Layer::Tanh
                | Layer::Image { .. }
                | Layer::Flatten
                | Layer::LayerNorm
                | Layer::Embedding { .. } => layers.push(layer),
            }
        }
        layers.push(Layer::Flatten);
        (inputs, layers)
    })
}

/// Norms and residual blocks, in which a dense layer may change the width and one must bring it back.
fn blocks() -> impl Strategy<Value = (u32, Vec<Layer>)> {
    let width = prop_oneof![1..6_u32, Just(16), Just(18)];
    let part = prop_oneof![
        (1..20_u32).prop_map(|outputs| Layer::Dense { outputs }),
        Just(Layer::Relu),
        Just(Layer::Tanh),
        Just(Layer::LayerNorm),
    ];
    let inner = prop::collection::vec(part, 0..4);
    (
        1..6_u32,
        width,
        prop::collection::vec(inner, 0..3),
        any::<bool>(),
    )
        .prop_map(|(inputs, width, blocks, trained_first)| {
            let mut layers = Vec::new();
            let mut entering = inputs;
            if trained_first {
                layers.push(Layer::Dense { outputs: width });
                entering = width;
            }
            for mut inner in blocks {
                inner.push(Layer::Dense { outputs: entering });
                layers.push(Layer::Residual { layers: inner });
                layers.push(Layer::LayerNorm);
            }
            (inputs, layers)
        })
}

/// One or two categories among the inputs, beside numbers.
fn categories() -> impl Strategy<Value = (u32, Vec<Layer>)> {
    let column = (0..3_u32, 2..6_u32, prop_oneof![1..4_u32, Just(16)]);
    (prop::collection::vec(column, 1..3), 0..3_u32, any::<bool>()).prop_map(
        |(columns, rest, activated)| {
            let mut next = 0;
            let embedded = |(before, levels, outputs)| {
                let first = next + before;
                next = first + levels - 1;
                EmbeddedColumn {
                    first,
                    levels,
                    outputs,
                }
            };
            let columns = columns.into_iter().map(embedded).collect();
            let mut layers = vec![Layer::Embedding { columns }];
            if activated {
                layers.extend([Layer::Dense { outputs: 3 }, Layer::Tanh]);
            }
            (next + rest, layers)
        },
    )
}

fn any_layers(records: std::ops::Range<usize>) -> impl Strategy<Value = Case> {
    let shape = prop_oneof![images(), blocks(), categories()];
    cases(shape, records)
}

/// How far floats may be off where the gradient of a record has this length: what a dozen layers of f32 round. A layer norm of elements that hardly differ
/// multiplies what was rounded before it, and is not asked to be exact.
fn slack(case: &Case) -> f64 {
    let records = oracle::per_record(&case.spec, &case.parameters(), &case.batch());
    let square = |value: &f32| f64::from(*value) * f64::from(*value);
    let norm = |gradient: &[f32]| gradient.iter().map(square).sum::<f64>().sqrt();
    let longest = records.iter().map(|record| norm(&record.gradient));
    longest.fold(1.0, f64::max)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    // As for dense layers: C/2^26 and the shortening by 2^-22 for each record, and what f32 rounds.
    #[test]
    fn the_sum_over_any_layers_equals_the_naive_loop_over_records(
        case in any_layers(0..6),
        norm in 0.05_f32..2.0,
        weight in 0.0_f64..0.9,
    ) {
        prop_assume!(slack(&case) < 200.0);
        let rule = clipping(norm, weight);
        let off = distance(&in_units(case.sum(&rule)), &case.naive_sum(&rule));
        prop_assert!(off < 1e-5, "{off}");
    }

    #[test]
    fn without_clipping_the_sum_over_any_layers_is_the_gradient_of_the_whole_batch(case in any_layers(1..6)) {
        prop_assume!(slack(&case) < 200.0);
        let rule = clipping(1000.0, 0.0);
        let mean = reference::mean_gradient(&case.spec, &case.parameters(), &case.batch()).unwrap();
        #[expect(clippy::cast_precision_loss, reason = "at most 6 records")]
        let records = case.labels.len() as f64;
        let mut expected: Vec<f64> = mean.iter().map(|value| f64::from(*value) * records).collect();
        expected.push(0.0);
        let bound = 2e-5 * records + 2e-6 * slack(&case);
        prop_assert!(distance(&in_units(case.sum(&rule)), &expected) < bound);
    }

    #[test]
    fn one_record_of_any_layers_never_weighs_more_than_the_clip_norm(
        case in any_layers(1..2),
        norm in 0.01_f32..2.0,
        weight in 0.0_f64..0.99,
    ) {
        let integers = case.sum(&clipping(norm, weight)).sum.dangerous_into_integers();
        let square: u128 = integers.iter().map(|value| u128::from(value.unsigned_abs()).pow(2)).sum();
        prop_assert!(square <= 1 << 52);
    }

    #[test]
    fn a_record_adds_the_same_integers_alone_and_among_others(case in any_layers(1..6), norm in 0.01_f32..2.0) {
        let rule = clipping(norm, 0.25);
        let mut alone = vec![0; sum_elements(&case.spec)];
        let inputs = case.spec.inputs() as usize;
        for record in (0..case.labels.len()).rev() {
            let mut one = case.clone();
            one.labels = vec![case.labels[record]];
            one.features = case.features[record * inputs..][..inputs].to_vec();
            let integers = one.sum(&rule).sum.dangerous_into_integers();
            alone.iter_mut().zip(integers).for_each(|(sum, integer)| *sum += integer);
        }
        prop_assert_eq!(case.sum(&rule).sum.dangerous_into_integers(), alone);
    }
}

/// Small, and of more records than a chunk has.
fn convolutional(records: usize) -> Case {
    let layers = vec![
        Layer::Image {
            channels: 1,
            height: 28,
            width: 28,
        },
        Layer::Conv2d {
            outputs: 8,
            kernel: 5,
            padding: 0,
        },
        Layer::Relu,
        Layer::MaxPool,
        Layer::Flatten,
        Layer::Dense { outputs: 3 },
    ];
    let spec = ModelSpec::new(784, layers, Loss::CrossEntropy).unwrap();
    let wave = |index: usize| (f32::from(u16::try_from(index % 60_000).unwrap()) * 0.7).sin();
    Case {
        parameters: (0..spec.parameter_count())
            .map(|index| wave(index) * 0.1)
            .collect(),
        features: (0..784 * records).map(|index| wave(index * 3)).collect(),
        labels: (0..records)
            .map(|index| f32::from(u8::try_from(index % 3).unwrap()))
            .collect(),
        spec,
    }
}

#[test]
fn images_of_many_chunks_add_up_bit_for_bit_however_they_are_spread() {
    let (case, rule) = (convolutional(40), clipping(0.5, 0.25));
    let mut first = case.clone();
    first.labels.truncate(13);
    first.features.truncate(784 * 13);
    let mut second = case.clone();
    second.labels.drain(..13);
    second.features.drain(..784 * 13);
    let mut parts = first.sum(&rule);
    parts.sum.merge(&second.sum(&rule).sum).unwrap();
    let whole = case.sum(&rule);
    assert!(whole.clipped > 0);
    assert_eq!(
        parts.sum.dangerous_into_integers(),
        whole.sum.dangerous_into_integers()
    );
}

#[test]
fn a_damaged_image_counts_as_zero_and_moves_no_other() {
    let rule = clipping(0.5, 0.25);
    let sound = convolutional(5);
    for damage in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let mut case = sound.clone();
        case.features.extend([damage; 784]);
        case.labels.push(1.0);
        let sum = case.sum(&rule);
        assert_eq!(sum.zeroed, 1);
        assert_eq!(
            sum.sum.dangerous_into_integers(),
            sound.sum(&rule).sum.dangerous_into_integers()
        );
    }
}

#[test]
fn no_images_sum_to_zero() {
    let sum = convolutional(0).sum(&clipping(1.0, 0.5));
    assert_eq!((sum.clipped, sum.zeroed), (0, 0));
    assert!(sum.sum.dangerous_into_integers().iter().all(|x| *x == 0));
}

#[test]
fn a_record_moves_the_row_of_its_own_level_and_no_other() {
    let columns = vec![EmbeddedColumn {
        first: 1,
        levels: 4,
        outputs: 2,
    }];
    let layers = vec![Layer::Embedding { columns }, Layer::Dense { outputs: 1 }];
    let spec = ModelSpec::new(4, layers, Loss::SquaredError).unwrap();
    let table = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8];
    let case = |level: usize| {
        let one = |index: usize| if index + 1 == level { 1.0 } else { -1.0 };
        Case {
            spec: spec.clone(),
            // The table, the weight of the number and of the row's two elements, the bias.
            parameters: [&table[..], &[1.0, 10.0, 100.0, 0.0]].concat(),
            features: vec![2.0, one(0), one(1), one(2)],
            labels: vec![0.0],
        }
    };
    for level in 0..4 {
        let found = in_units(case(level).sum(&clipping(1e6, 0.0)));
        let row = [table[2 * level], table[2 * level + 1]].map(f64::from);
        let output = 2.0 + 10.0 * row[0] + 100.0 * row[1];
        let mut expected = vec![0.0; 8];
        (expected[2 * level], expected[2 * level + 1]) = (10.0 * output, 100.0 * output);
        expected.extend([2.0 * output, row[0] * output, row[1] * output, output, 0.0]);
        let off = distance(&found, &expected);
        assert!(off < 0.05, "{level}: {off}");
    }
}
