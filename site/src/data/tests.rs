//! Data files, good and bad.

use super::*;
use consort_contract::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use std::path::{Path, PathBuf};

fn schema(missing: MissingValues) -> DataSchema {
    let age = FeatureSpec::Numeric {
        column: "age".into(),
        center: 50.0,
        scale: 10.0,
        clip: 3.0,
    };
    let pain = FeatureSpec::OneHot {
        column: "pain".into(),
        levels: ["1", "2", "3"].map(Into::into).into(),
    };
    let target = TargetSpec::binary("sick", 0.0);
    DataSchema::new(vec![age, pain], target, missing).unwrap()
}

/// Loads a text through a file of its own name; the directory lasts until the result is read.
fn load_text(text: impl AsRef<[u8]>, missing: MissingValues) -> Result<DataSet, DataError> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("patients.csv");
    std::fs::write(&path, text).unwrap();
    load(&path, &schema(missing), 3)
}

fn refusal(text: impl AsRef<[u8]>) -> DataError {
    load_text(text, MissingValues::Refuse).unwrap_err()
}

#[test]
fn columns_are_found_by_name_and_scaled_by_the_schema() {
    let text = "ward,sick,pain,age\nA,0,1,50\n\"B,1\", 2 ,3.0,75\r\nC,1,2,1000\n";
    let data = load_text(text, MissingValues::Refuse).unwrap();
    assert_eq!((data.records(), data.inputs(), data.dropped()), (3, 3, 0));
    assert_eq!(
        data.features(),
        [0.0, -1.0, -1.0, 2.5, -1.0, 1.0, 3.0, 1.0, -1.0]
    );
    assert_eq!(data.labels(), [0.0, 1.0, 1.0]);
}

#[test]
fn a_byte_order_mark_before_the_header_is_ignored() {
    let data = load_text("\u{feff}age,pain,sick\n50,1,0\n", MissingValues::Refuse).unwrap();
    assert_eq!(data.records(), 1);
}

#[test]
fn a_bad_value_is_named_by_file_line_and_column_and_never_shown() {
    let error = refusal("age,pain,sick\n50,1,0\nseventy-one,2,1\n");
    assert_eq!(error.code(), "DATA_NOT_A_NUMBER");
    let message = error.to_string();
    assert!(
        message.contains("patients.csv line 3: column \"age\""),
        "{message}"
    );
    assert!(!message.contains("seventy"), "{message}");
}

#[test]
fn lines_are_counted_in_the_file_and_not_in_records() {
    let error = refusal("age,pain,sick\n\n50,1,0\n\n\n50,9,0\n");
    assert_eq!(error.code(), "DATA_UNKNOWN_LEVEL");
    assert!(error.to_string().contains("line 6"), "{error}");
}

#[test]
fn a_missing_value_is_refused_unless_the_schema_drops_the_row() {
    let text = "age,pain,sick\n?,1,0\n50,2,1\n50,1,\n";
    assert_eq!(refusal(text).code(), "DATA_MISSING_VALUE");
    let data = load_text(text, MissingValues::DropRow).unwrap();
    assert_eq!((data.records(), data.dropped()), (1, 2));
    assert_eq!(data.features(), [0.0, 1.0, -1.0]);
    assert_eq!(data.labels(), [1.0]);
}

#[test]
fn a_damaged_field_beside_a_missing_one_is_still_refused() {
    let error = load_text("age,pain,sick\n?,9,0\n", MissingValues::DropRow).unwrap_err();
    assert_eq!(error.code(), "DATA_UNKNOWN_LEVEL");
}

#[test]
fn a_column_that_is_not_needed_may_be_empty() {
    let data = load_text("age,note,pain,sick\n50,,1,0\n", MissingValues::Refuse).unwrap();
    assert_eq!(data.records(), 1);
}

#[test]
fn numbers_beyond_the_finite_are_refused() {
    for field in ["nan", "inf", "1e999", "12 years"] {
        let error = refusal(format!("age,pain,sick\n{field},1,0\n"));
        assert_eq!(error.code(), "DATA_NOT_A_NUMBER");
    }
}

#[test]
fn the_header_must_name_each_column_once() {
    assert_eq!(refusal("").code(), "DATA_NO_HEADER");
    assert_eq!(refusal("50,1,0\n").code(), "DATA_MISSING_COLUMN");
    assert_eq!(
        refusal("age,age,pain,sick\n1,2,1,0\n").code(),
        "DATA_REPEATED_COLUMN"
    );
}

#[test]
fn a_row_of_another_length_is_refused() {
    let error = refusal("age,pain,sick\n50,1,0\n50,1\n");
    assert_eq!(error.code(), "DATA_ROW_LENGTH");
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn the_cap_on_records_is_kept() {
    let row = "50,1,0\n";
    let text = |rows| format!("age,pain,sick\n{}", row.repeat(rows));
    assert_eq!(
        load_text(text(3), MissingValues::Refuse).unwrap().records(),
        3
    );
    assert_eq!(refusal(text(4)).code(), "DATA_TOO_MANY_RECORDS");
}

#[test]
fn a_file_without_a_record_is_refused() {
    assert_eq!(refusal("age,pain,sick\n").code(), "DATA_NO_RECORDS");
}

#[test]
fn text_in_another_encoding_is_refused_by_its_line() {
    let error = refusal(b"age,pain,sick\n50,1,0\n5\xff,1,0\n");
    assert_eq!(error.code(), "DATA_NOT_TEXT");
    assert!(error.to_string().contains("line 3"), "{error}");
}

#[test]
fn a_file_that_is_not_there_is_named() {
    let error = load(
        &PathBuf::from("/no/such.csv"),
        &schema(MissingValues::Refuse),
        1,
    )
    .unwrap_err();
    assert_eq!(error.code(), "DATA_READ");
    assert!(error.to_string().contains("/no/such.csv"), "{error}");
}

#[test]
fn debug_output_shows_no_record() {
    let data = load_text("age,pain,sick\n61,1,0\n", MissingValues::Refuse).unwrap();
    assert_eq!(format!("{data:?}"), "DataSet(1 records, 3 inputs)");
}

/// Numbers of 4 bytes, little-endian, in hexadecimal.
fn floats(text: &str) -> Vec<f32> {
    let byte = |i: usize| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    let number = |i| f32::from_le_bytes([byte(i), byte(i + 2), byte(i + 4), byte(i + 6)]);
    (0..text.len()).step_by(8).map(number).collect()
}

#[test]
fn each_row_becomes_the_inputs_and_the_label_of_the_published_vectors() {
    let file = include_str!("../../../vectors/secure-aggregation/gradient.json");
    let file: serde_json::Value = serde_json::from_str(file).unwrap();
    let rows = file["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 17);
    for said in rows {
        let schema: DataSchema = serde_json::from_value(said["data"].clone()).unwrap();
        let row = said["row"].as_object().unwrap();
        let header: Vec<_> = row.keys().map(String::as_str).collect();
        let fields: Vec<_> = row.values().map(|field| field.as_str().unwrap()).collect();
        let text = format!("{}\n{}\n", header.join(","), fields.join(","));
        let data = parse(Path::new("row.csv"), text.as_bytes(), &schema, 1).unwrap();
        assert_eq!(
            data.features(),
            floats(said["inputs"].as_str().unwrap()),
            "{said}"
        );
        let label: f32 = serde_json::from_value(said["label"].clone()).unwrap();
        assert_eq!(data.labels(), [label], "{said}");
    }
}

/// The labels of a column under this target, or why there are none.
fn labelled(target: &str, values: &[&str]) -> Result<DataSet, DataError> {
    let schema = format!(
        r#"{{"target": {{"column": "y", {target}}}, "missing": "drop_row",
            "features": [{{"numeric": {{"column": "age", "center": 50, "scale": 10, "clip": 3}}}}]}}"#
    );
    let schema: DataSchema = serde_json::from_str(&schema).unwrap();
    let rows: String = values.iter().map(|value| format!("50,{value}\n")).collect();
    let (path, text) = (Path::new("y.csv"), format!("age,y\n{rows}"));
    let data = parse(path, text.as_bytes(), &schema, 1000)?;
    data.varies(path, schema.target())?;
    Ok(data)
}

#[test]
fn labels_of_classes_numbers_and_counts_are_those_of_the_target() {
    let classes = labelled(r#""classes": ["a", "b", "7"]"#, &["b", "7.0", "?", "a"]).unwrap();
    assert_eq!(
        (classes.labels(), classes.dropped()),
        (&[1.0, 2.0, 0.0][..], 1)
    );
    let number = r#""number": {"least": 0, "most": 200}"#;
    let numbers = labelled(number, &["50", "300", "?", "-1", "200"]).unwrap();
    assert_eq!(numbers.labels(), [0.25, 1.0, 0.0, 1.0]);
    assert_eq!((numbers.dropped(), numbers.beyond()), (1, 2));
    let counts = labelled(r#""count": {"most": 4}"#, &["0", "4", "9"]).unwrap();
    assert_eq!(
        (counts.labels(), counts.beyond()),
        (&[0.0, 4.0, 4.0][..], 1)
    );
}

#[test]
fn a_value_that_is_no_label_is_named_by_file_line_and_column() {
    for (target, value, code) in [
        (r#""classes": 3"#, "3", "DATA_UNKNOWN_LEVEL"),
        (r#""classes": 3"#, "-1", "DATA_UNKNOWN_LEVEL"),
        (r#""classes": 3"#, "nan", "DATA_UNKNOWN_LEVEL"),
        (
            r#""number": {"least": 0, "most": 1}"#,
            "inf",
            "DATA_NOT_A_NUMBER",
        ),
        (
            r#""number": {"least": 0, "most": 1}"#,
            "NaN",
            "DATA_NOT_A_NUMBER",
        ),
        (r#""count": {"most": 9}"#, "-1", "DATA_NOT_A_COUNT"),
        (r#""count": {"most": 9}"#, "0.5", "DATA_NOT_A_COUNT"),
    ] {
        let error = labelled(target, &["1", "2", value]).unwrap_err();
        assert_eq!(error.code(), code, "{target} {value}");
        let message = error.to_string();
        assert!(message.contains("y.csv line 4: column \"y\""), "{message}");
        assert!(!message.contains(value), "{message}");
    }
}

#[test]
fn a_target_that_is_the_same_in_all_of_many_records_is_refused() {
    // 31 is beyond the bounds, like 30: a wrong unit makes all values the bound.
    let number = r#""number": {"least": 0, "most": 20}"#;
    let refused = labelled(number, &["30", "31"].repeat(5)).unwrap_err();
    assert_eq!(refused.code(), "DATA_CONSTANT_TARGET");
    let message = refused.to_string();
    assert!(
        message.contains("y.csv lines 2 and below: column \"y\""),
        "{message}"
    );
    assert!(labelled(number, &["30"; 9]).is_ok());
    let mut varied = vec!["30"; 10];
    varied[9] = "19";
    assert!(labelled(number, &varied).is_ok());
    for target in [
        r#""positive_above": 5"#,
        r#""classes": 3"#,
        r#""count": {"most": 9}"#,
    ] {
        assert!(labelled(target, &["2"; 99]).is_ok());
        let refused = labelled(target, &["2"; 100]).unwrap_err();
        assert_eq!(refused.code(), "DATA_CONSTANT_TARGET");
    }
}
