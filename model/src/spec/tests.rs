//! What is refused of a declared architecture, and what follows from one.

use super::*;

const SAMPLE: &str = r#"{"inputs":30,"layers":[{"dense":{"outputs":16}},"relu",{"dense":{"outputs":1}}],"loss":"binary_cross_entropy"}"#;

fn dense(outputs: u32) -> Layer {
    Layer::Dense { outputs }
}

fn faults(inputs: u32, layers: Vec<Layer>) -> Vec<SpecFault> {
    ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy)
        .unwrap_err()
        .faults
}

fn last_layer(layer: usize) -> SpecFault {
    SpecFault::LastLayer {
        layer: layer.into(),
        loss: "binary_cross_entropy",
    }
}

#[test]
fn the_sample_is_read_and_written_back_unchanged() {
    let spec: ModelSpec = serde_json::from_str(SAMPLE).unwrap();
    assert_eq!(spec.layers(), [dense(16), Layer::Relu, dense(1)]);
    assert_eq!(serde_json::to_string(&spec).unwrap(), SAMPLE);
}

#[test]
fn the_layout_covers_the_flat_vector_without_gap_or_overlap() {
    let spec: ModelSpec = serde_json::from_str(SAMPLE).unwrap();
    let layout = spec.layout();
    let names: Vec<_> = layout
        .tensors()
        .iter()
        .map(|tensor| tensor.name.as_str())
        .collect();
    assert_eq!(
        names,
        [
            "layer.0.weight",
            "layer.0.bias",
            "layer.2.weight",
            "layer.2.bias"
        ]
    );
    let mut next = 0;
    for tensor in layout.tensors() {
        assert_eq!(tensor.range().start, next);
        next = tensor.range().end;
    }
    assert_eq!(next, spec.parameter_count());
    assert_eq!(next, 30 * 16 + 16 + 16 + 1);
}

#[test]
fn an_unknown_field_or_layer_is_refused() {
    for text in [
        SAMPLE.replace("\"loss\"", "\"code\":\"x\",\"loss\""),
        SAMPLE.replace("{\"outputs\":16}", "{\"outputs\":16,\"bias\":false}"),
        SAMPLE.replace("relu", "lambda"),
    ] {
        assert!(serde_json::from_str::<ModelSpec>(&text).is_err(), "{text}");
    }
}

#[test]
fn each_wrong_layer_is_named_once() {
    let found = faults(8, vec![dense(0), Layer::Relu, dense(0), Layer::Tanh]);
    let expected = [no_outputs(0), no_outputs(2), last_layer(3)];
    assert_eq!(found, expected);
}

#[test]
fn a_model_past_the_parameter_limit_is_refused_at_the_layer_that_passes_it() {
    let found = faults(
        4096,
        vec![dense(4000), dense(u32::MAX), dense(u32::MAX), dense(1)],
    );
    let expected = [SpecFault::TooManyParameters {
        layer: 1.into(),
        kind: "dense",
        inputs: 4000,
        outputs: u32::MAX.into(),
    }];
    assert_eq!(found, expected);
}

#[test]
fn an_empty_model_and_a_tower_of_layers_are_refused() {
    assert_eq!(faults(0, vec![dense(1)]), [SpecFault::NoInputs]);
    assert_eq!(faults(3, vec![]), [SpecFault::NoLayers]);
    assert_eq!(
        faults(3, vec![dense(1); MAX_LAYERS + 1]),
        [SpecFault::TooManyLayers {
            found: MAX_LAYERS + 1
        }]
    );
    assert!(ModelSpec::new(3, vec![dense(1); MAX_LAYERS], Loss::BinaryCrossEntropy).is_ok());
}

#[test]
fn the_last_layer_must_give_one_logit() {
    assert_eq!(faults(3, vec![dense(2)]), [last_layer(0)]);
    assert_eq!(faults(3, vec![dense(1), Layer::Tanh]), [last_layer(1)]);
}

#[test]
fn each_loss_reads_the_outputs_that_it_knows() {
    let accepted = |outputs, loss| ModelSpec::new(3, vec![dense(outputs)], loss).is_ok();
    for loss in [Loss::BinaryCrossEntropy, Loss::SquaredError, Loss::Poisson] {
        assert!(accepted(1, loss) && !accepted(2, loss), "{}", loss.name());
    }
    assert!(accepted(2, Loss::CrossEntropy) && accepted(10, Loss::CrossEntropy));
    let refused = ModelSpec::new(3, vec![dense(1)], Loss::CrossEntropy).unwrap_err();
    assert_eq!(
        refused.faults(),
        [SpecFault::LastLayerOfClasses { layer: 0.into() }]
    );
}

#[test]
fn a_loss_is_written_by_its_name_and_changes_the_hash() {
    let mut hashes = Vec::new();
    for loss in [Loss::BinaryCrossEntropy, Loss::SquaredError, Loss::Poisson] {
        assert_eq!(serde_json::to_value(loss).unwrap(), loss.name());
        let hash = ModelSpec::new(3, vec![dense(1)], loss).unwrap().hash();
        assert!(!hashes.contains(&hash));
        hashes.push(hash);
    }
    assert_eq!(
        serde_json::to_value(Loss::CrossEntropy).unwrap(),
        Loss::CrossEntropy.name()
    );
}

#[test]
fn two_architectures_never_share_a_hash() {
    let hash = |layers| {
        ModelSpec::new(4, layers, Loss::BinaryCrossEntropy)
            .unwrap()
            .hash()
    };
    let first = hash(vec![dense(4), Layer::Relu, dense(1)]);
    assert_ne!(first, hash(vec![dense(4), Layer::Tanh, dense(1)]));
    assert_ne!(first, hash(vec![dense(4), dense(1)]));
    assert_eq!(first, hash(vec![dense(4), Layer::Relu, dense(1)]));
}

fn no_outputs(layer: usize) -> SpecFault {
    SpecFault::NoOutputs {
        layer: layer.into(),
        kind: "dense",
    }
}

fn image(channels: u32, height: u32, width: u32) -> Layer {
    Layer::Image {
        channels,
        height,
        width,
    }
}

fn conv(outputs: u32, kernel: u32, padding: u32) -> Layer {
    Layer::Conv2d {
        outputs,
        kernel,
        padding,
    }
}

fn embedding(columns: &[(u32, u32, u32)]) -> Layer {
    let column = |&(first, levels, outputs): &(u32, u32, u32)| EmbeddedColumn {
        first,
        levels,
        outputs,
    };
    Layer::Embedding {
        columns: columns.iter().map(column).collect(),
    }
}

fn residual(layers: Vec<Layer>) -> Layer {
    Layer::Residual { layers }
}

/// A convolutional network, a residual one and one with categories, as they are written.
const NETWORKS: [&str; 3] = [
    r#"{"inputs":784,"layers":[{"image":{"channels":1,"height":28,"width":28}},{"conv2d":{"outputs":16,"kernel":5}},"relu","max_pool",{"conv2d":{"outputs":32,"kernel":5}},"relu","max_pool","flatten",{"dense":{"outputs":10}}],"loss":"cross_entropy"}"#,
    r#"{"inputs":30,"layers":[{"dense":{"outputs":8}},{"residual":{"layers":["layer_norm",{"dense":{"outputs":8}},"relu",{"dense":{"outputs":8}}]}},{"dense":{"outputs":1}}],"loss":"binary_cross_entropy"}"#,
    r#"{"inputs":9,"layers":[{"embedding":{"columns":[{"first":1,"levels":4,"outputs":2},{"first":6,"levels":3,"outputs":5}]}},{"dense":{"outputs":1}}],"loss":"squared_error"}"#,
];

#[test]
fn networks_are_read_and_written_back_unchanged_and_have_the_shapes_of_the_field() {
    let specs = NETWORKS.map(|text| {
        let spec: ModelSpec = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&spec).unwrap(), text);
        spec
    });
    let tensors = specs.each_ref().map(|spec| {
        let layout = spec.layout();
        let mut next = 0;
        for tensor in layout.tensors() {
            assert_eq!(tensor.range().start, next);
            next = tensor.range().end;
        }
        assert_eq!(next, spec.parameter_count());
        let named = layout.tensors().iter();
        named
            .map(|tensor| (tensor.name.clone(), tensor.shape.clone()))
            .collect::<Vec<_>>()
    });
    let expected = |tensors: &[(&str, &[usize])]| {
        let named = tensors.iter();
        named
            .map(|(name, shape)| ((*name).to_owned(), shape.to_vec()))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        tensors[0],
        expected(&[
            ("layer.1.weight", &[5, 5, 1, 16]),
            ("layer.1.bias", &[16]),
            ("layer.4.weight", &[5, 5, 16, 32]),
            ("layer.4.bias", &[32]),
            ("layer.8.weight", &[512, 10]),
            ("layer.8.bias", &[10]),
        ])
    );
    assert_eq!(
        tensors[1],
        expected(&[
            ("layer.0.weight", &[30, 8]),
            ("layer.0.bias", &[8]),
            ("layer.1.0.weight", &[8]),
            ("layer.1.0.bias", &[8]),
            ("layer.1.1.weight", &[8, 8]),
            ("layer.1.1.bias", &[8]),
            ("layer.1.3.weight", &[8, 8]),
            ("layer.1.3.bias", &[8]),
            ("layer.2.weight", &[8, 1]),
            ("layer.2.bias", &[1]),
        ])
    );
    // 9 inputs, of which 3 and 2 give way to 2 and 5.
    assert_eq!(
        tensors[2],
        expected(&[
            ("layer.0.column.0.weight", &[4, 2]),
            ("layer.0.column.1.weight", &[3, 5]),
            ("layer.1.weight", &[11, 1]),
            ("layer.1.bias", &[1]),
        ])
    );
}

#[test]
fn a_layer_that_does_not_fit_what_enters_it_is_named() {
    let expect = |inputs, layers: Vec<Layer>, text: &str| {
        let refused = ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy).unwrap_err();
        let shown = refused.to_string();
        assert!(shown.contains(text), "{shown}");
        assert_eq!(refused.faults().len(), 1, "{shown}");
    };
    let one = || dense(1);
    expect(
        12,
        vec![image(1, 3, 5), Layer::Flatten, one()],
        "layer 0 (image) declares 1 × 3 × 5 elements, at least 1, and 12 enter it",
    );
    expect(
        12,
        vec![image(0, 3, 4), Layer::Flatten, one()],
        "layer 0 (image) declares 0",
    );
    expect(
        12,
        vec![conv(2, 3, 0), one()],
        "layer 0 (conv2d) needs an image",
    );
    expect(
        12,
        vec![Layer::MaxPool, one()],
        "layer 0 (max_pool) needs an image",
    );
    expect(
        12,
        vec![Layer::Flatten, one()],
        "layer 0 (flatten) needs an image",
    );
    expect(
        12,
        vec![image(1, 3, 4), one()],
        "layer 1 (dense) gets an image",
    );
    expect(
        12,
        vec![image(1, 3, 4), image(1, 3, 4), Layer::Flatten, one()],
        "layer 1 (image) gets an image",
    );
    for (kernel, padding) in [
        (4, 0),
        (0, 0),
        (2, 2),
        (u32::MAX, 0),
        (u32::MAX, u32::MAX - 1),
    ] {
        expect(
            12,
            vec![
                image(1, 3, 4),
                conv(2, kernel, padding),
                Layer::Flatten,
                one(),
            ],
            "layer 1 (conv2d) has kernel",
        );
    }
    expect(
        12,
        vec![image(1, 3, 4), conv(0, 3, 0), Layer::Flatten, one()],
        "layer 1 (conv2d) has 0 outputs",
    );
    expect(
        12,
        vec![image(1, 12, 1), Layer::MaxPool, Layer::Flatten, one()],
        "layer 1 (max_pool) halves an image of 1 channels, height 12 and width 1",
    );
    expect(
        12,
        vec![Layer::Tanh, embedding(&[(0, 2, 1)]), one()],
        "layer 1 (embedding) must be the first",
    );
    expect(
        12,
        vec![residual(vec![embedding(&[(0, 2, 1)])]), one()],
        "layer 0.0 (embedding) must be the first",
    );
    expect(
        12,
        vec![embedding(&[]), one()],
        "layer 0 (embedding) has no columns",
    );
    for column in [
        (0, 1, 1),
        (0, 2, 0),
        (0, 14, 1),
        (12, 2, 1),
        (u32::MAX, u32::MAX, 1),
    ] {
        expect(
            12,
            vec![embedding(&[column]), one()],
            "column 0 of layer 0 (embedding)",
        );
    }
    expect(
        12,
        vec![embedding(&[(3, 4, 1), (5, 2, 1)]), one()],
        "column 1 of layer 0 (embedding)",
    );
    expect(
        12,
        vec![residual(vec![]), one()],
        "layer 0 (residual) has no layers",
    );
    expect(
        12,
        vec![residual(vec![residual(vec![Layer::Tanh])]), one()],
        "layer 0.0 (residual) stands in a residual block",
    );
    expect(
        12,
        vec![residual(vec![dense(3)]), one()],
        "12 elements enter layer 0 (residual) and 3 elements leave its layers",
    );
    expect(
        12,
        vec![residual(vec![Layer::Relu; MAX_LAYERS]), one()],
        "34 layers are declared",
    );
    expect(
        12,
        vec![residual(vec![dense(12)])],
        "layer 0 is the last and must be dense",
    );
}

/// 10^12 parameters and more, and products that no 64-bit integer holds, by every layer that has parameters.
#[test]
fn an_architecture_of_a_trillion_parameters_is_refused_by_its_layer_before_anything_is_allocated() {
    let most = u32::MAX;
    let million = 1_000_000;
    for (inputs, layers, at) in [
        (million, vec![dense(million), dense(1)], "0 (dense)"),
        (most, vec![dense(most), dense(1)], "0 (dense"),
        (
            million,
            vec![embedding(&[(0, million, million)]), dense(1)],
            "0 (embedding",
        ),
        (
            most,
            vec![embedding(&[(0, most, most)]), dense(1)],
            "0 (embedding",
        ),
        (
            million,
            vec![
                image(1, 1000, 1000),
                conv(million, 1000, 0),
                Layer::Flatten,
                dense(1),
            ],
            "1 (conv2d",
        ),
        (
            most,
            vec![
                image(most, 1, 1),
                conv(most, most, most - 1),
                Layer::Flatten,
                dense(1),
            ],
            "1 (conv2d",
        ),
        (
            4,
            vec![
                image(1, 2, 2),
                conv(1, most, most / 2 + 1),
                Layer::Flatten,
                dense(1),
            ],
            "1 (conv2d",
        ),
        (
            million,
            vec![residual(vec![dense(million), Layer::Tanh]), dense(1)],
            "0.0 (dense",
        ),
        (
            most,
            vec![Layer::LayerNorm, residual(vec![Layer::LayerNorm]), dense(1)],
            "0 (layer_norm",
        ),
    ] {
        let refused = ModelSpec::new(inputs, layers, Loss::BinaryCrossEntropy).unwrap_err();
        let shown = refused.to_string();
        assert!(
            shown.contains(&format!("layer {}", at.split(' ').next().unwrap())),
            "{shown}"
        );
        assert!(shown.contains("past 67108864"), "{shown}");
    }
}

#[test]
fn what_a_record_fills_is_limited_where_parameters_are_few() {
    // 17 parameters a channel, and 64 million elements.
    let layers = vec![
        image(1, 1024, 1024),
        conv(64, 4, 0),
        Layer::Flatten,
        dense(1),
    ];
    let found = faults(1 << 20, layers);
    assert_eq!(
        found,
        [SpecFault::TooManyElements {
            layer: 1.into(),
            kind: "conv2d"
        }]
    );
}

#[test]
fn layers_written_side_by_side_and_in_a_block_have_different_hashes() {
    let hash = |layers| {
        ModelSpec::new(4, layers, Loss::BinaryCrossEntropy)
            .unwrap()
            .hash()
    };
    let hashes = [
        hash(vec![residual(vec![Layer::Tanh]), Layer::Tanh, dense(1)]),
        hash(vec![residual(vec![Layer::Tanh, Layer::Tanh]), dense(1)]),
        hash(vec![Layer::Tanh, Layer::Tanh, dense(1)]),
        hash(vec![image(1, 2, 2), Layer::Flatten, dense(1)]),
        hash(vec![image(2, 1, 2), Layer::Flatten, dense(1)]),
        hash(vec![
            image(1, 2, 2),
            conv(1, 1, 0),
            Layer::Flatten,
            dense(1),
        ]),
        hash(vec![embedding(&[(0, 2, 1)]), dense(1)]),
        hash(vec![embedding(&[(0, 3, 1)]), dense(1)]),
        hash(vec![Layer::LayerNorm, dense(1)]),
    ];
    for (index, hash) in hashes.iter().enumerate() {
        assert!(!hashes[..index].contains(hash), "{index}");
    }
}
