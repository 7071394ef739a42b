//! One record's vector on the grid, against the published vectors.

use consort_model::{Layer, Loss, ModelSpec, Parameters};
use consort_privacy::{ClipNorm, Grid, GridBits, RecordCap};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::{Batch, Clipping, LossWeight, clipped_sum};

/// The value of a field.
fn read<T: DeserializeOwned>(case: &Value, field: &str) -> T {
    serde_json::from_value(case[field].clone()).unwrap_or_else(|fault| panic!("{field}: {fault}"))
}

/// Numbers of 4 bytes, little-endian, in hexadecimal.
fn floats(case: &Value, field: &str) -> Vec<f32> {
    let text: String = read(case, field);
    let byte = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    let number = |i| f32::from_le_bytes([byte(i), byte(i + 2), byte(i + 4), byte(i + 6)]);
    (0..text.len()).step_by(8).map(number).collect()
}

#[test]
fn each_record_becomes_the_integers_of_the_reference() {
    let file = include_str!("../../vectors/secure-aggregation/gradient.json");
    let file: Value = serde_json::from_str(file).unwrap();
    let records = file["records"].as_array().unwrap();
    assert_eq!(records.len(), 20);
    for case in records {
        let inputs = floats(case, "inputs");
        let width = u32::try_from(inputs.len()).unwrap();
        let layers: Vec<Layer> = read(case, "layers");
        let spec = ModelSpec::new(width, layers, read::<Loss>(case, "loss")).unwrap();
        let parameters = Parameters::new(&spec, floats(case, "parameters")).unwrap();
        let labels = [read::<f32>(case, "label")];
        let batch = Batch::new(&inputs, &labels, width).unwrap();
        let clip = ClipNorm::new(read(case, "clip")).unwrap();
        let grid = Grid::new(clip, GridBits::new(read(case, "grid_bits")).unwrap());
        let clipping = Clipping::new(grid, LossWeight::new(read(case, "loss_weight")).unwrap());
        let cap = RecordCap::new(1).unwrap();
        let sum = clipped_sum(&spec, &parameters, &batch, &clipping, cap).unwrap();
        assert_eq!(
            sum.sum.dangerous_into_integers(),
            read::<Vec<i64>>(case, "integers"),
            "{}",
            case["case"]
        );
    }
}
