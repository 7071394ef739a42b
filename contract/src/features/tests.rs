//! What a data schema accepts and refuses.

use super::*;

fn numeric(column: &str) -> FeatureSpec {
    FeatureSpec::Numeric {
        column: column.into(),
        center: 54.0,
        scale: 10.0,
        clip: 3.0,
    }
}

fn one_hot(column: &str, levels: &[&str]) -> FeatureSpec {
    FeatureSpec::OneHot {
        column: column.into(),
        levels: levels.iter().map(|&level| level.into()).collect(),
    }
}

fn target(column: &str) -> TargetSpec {
    TargetSpec::binary(column, 0.5)
}

fn refusal(features: Vec<FeatureSpec>) -> &'static str {
    DataSchema::new(features, target("sick"), MissingValues::Refuse)
        .unwrap_err()
        .code()
}

#[test]
fn a_category_fills_one_input_less_than_it_has_levels() {
    let features = vec![numeric("age"), one_hot("pain", &["1", "2", "3"])];
    let schema = DataSchema::new(features, target("sick"), MissingValues::DropRow).unwrap();
    assert_eq!(schema.inputs(), 3);
}

#[test]
fn a_schema_without_features_is_refused() {
    assert_eq!(refusal(vec![]), "schema_no_features");
}

#[test]
fn a_column_is_read_by_one_feature_only() {
    assert_eq!(
        refusal(vec![numeric("age"), numeric("age")]),
        "schema_repeated_column"
    );
}

#[test]
fn the_target_is_not_a_feature() {
    assert_eq!(refusal(vec![numeric("sick")]), "schema_target_is_feature");
}

#[test]
fn constants_are_finite_and_widths_above_zero() {
    let spec = |center, scale, clip| FeatureSpec::Numeric {
        column: "age".into(),
        center,
        scale,
        clip,
    };
    assert_eq!(refusal(vec![spec(f64::NAN, 1.0, 1.0)]), "schema_not_finite");
    assert_eq!(
        refusal(vec![spec(0.0, f64::INFINITY, 1.0)]),
        "schema_not_finite"
    );
    assert_eq!(refusal(vec![spec(0.0, 0.0, 1.0)]), "schema_not_positive");
    assert_eq!(refusal(vec![spec(0.0, 1.0, -1.0)]), "schema_not_positive");
}

#[test]
fn levels_that_mean_the_same_are_refused() {
    assert_eq!(
        refusal(vec![one_hot("pain", &["1", "1.0"])]),
        "schema_bad_levels"
    );
    assert_eq!(
        refusal(vec![one_hot("pain", &["1", "?"])]),
        "schema_bad_levels"
    );
    assert_eq!(refusal(vec![one_hot("pain", &["1"])]), "schema_level_count");
}

#[test]
fn names_are_as_they_stand_in_a_header() {
    for name in ["", " age", "a\nge", &"x".repeat(MAX_NAME_BYTES + 1)] {
        assert_eq!(refusal(vec![numeric(name)]), "schema_bad_name");
    }
}

#[test]
fn every_choice_of_a_schema_enters_its_encoding() {
    let schema = |clip, levels: &[&str], missing| {
        let age = FeatureSpec::Numeric {
            column: "age".into(),
            center: 54.0,
            scale: 10.0,
            clip,
        };
        let features = vec![age, one_hot("pain", levels)];
        DataSchema::new(features, target("sick"), missing)
            .unwrap()
            .encode(Canonical::new("test"))
            .finish()
    };
    let base = schema(3.0, &["1", "2"], MissingValues::Refuse);
    assert_eq!(base, schema(3.0, &["1", "2"], MissingValues::Refuse));
    assert_ne!(base, schema(2.0, &["1", "2"], MissingValues::Refuse));
    assert_ne!(base, schema(3.0, &["2", "1"], MissingValues::Refuse));
    assert_ne!(base, schema(3.0, &["1", "2"], MissingValues::DropRow));
}

#[test]
fn a_document_is_checked_while_it_is_read() {
    let document = r#"{"target":{"column":"sick","positive_above":0},
        "features":[{"numeric":{"column":"age","center":54,"scale":10,"clip":3}},
                    {"one_hot":{"column":"pain","levels":["1","2"]}}]}"#;
    let schema: DataSchema = serde_json::from_str(document).unwrap();
    assert_eq!(schema.missing(), MissingValues::Refuse);
    let again = serde_json::to_string(&schema).unwrap();
    assert_eq!(serde_json::from_str::<DataSchema>(&again).unwrap(), schema);
    for (from, to) in [
        ("\"scale\":10", "\"scale\":0"),
        ("\"clip\":3", "\"clip\":3,\"mean\":1"),
    ] {
        assert!(serde_json::from_str::<DataSchema>(&document.replace(from, to)).is_err());
    }
}
