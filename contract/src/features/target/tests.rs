//! What targets are accepted, and what labels they give.

use super::*;

fn target(text: &str) -> Result<TargetSpec, serde_json::Error> {
    serde_json::from_str(&format!("{{\"column\": \"y\", {text}}}"))
}

fn kind(text: &str) -> TargetKind {
    target(text).unwrap().kind
}

fn value(kind: &TargetKind, field: &str) -> f32 {
    let label = kind.label(field).unwrap();
    assert!(!label.beyond, "{field}");
    label.value
}

#[test]
fn a_target_says_one_thing_about_its_values() {
    for text in [
        "\"positive_above\": 0.5",
        "\"classes\": [\"a\", \"b\"]",
        "\"classes\": 2",
        "\"number\": {\"least\": 0, \"most\": 1}",
        "\"count\": {\"most\": 9}",
    ] {
        let read = target(text).unwrap();
        let again = serde_json::to_string(&read).unwrap();
        assert_eq!(serde_json::from_str::<TargetSpec>(&again).unwrap(), read);
        let both = target(&format!("{text}, \"positive_above\": 1"));
        assert!(text.starts_with("\"pos") || both.is_err(), "{text}");
    }
    let none = serde_json::from_str::<TargetSpec>("{\"column\": \"y\"}").unwrap_err();
    assert!(none.to_string().contains("exactly one"), "{none}");
    assert!(target("\"positive_above\": 0.5, \"classes\": 3").is_err());
    assert!(target("\"median\": 0.5").is_err());
}

#[test]
fn a_number_of_classes_stands_for_their_numbers() {
    assert_eq!(
        kind("\"classes\": 3"),
        kind("\"classes\": [\"0\", \"1\", \"2\"]")
    );
    for wrong in [
        "0",
        "1",
        "1025",
        "-1",
        "2.5",
        "\"three\"",
        "[]",
        "[\"a\"]",
        "[\"1\", \"1.0\"]",
        "[\"a\", \"?\"]",
        "[\"a\", \"\"]",
        "{}",
    ] {
        assert!(target(&format!("\"classes\": {wrong}")).is_err(), "{wrong}");
    }
    let many: Vec<String> = (0..=MAX_LEVELS).map(|i| i.to_string()).collect();
    let many = serde_json::to_string(&many).unwrap();
    assert!(target(&format!("\"classes\": {many}")).is_err());
}

#[test]
fn bounds_are_finite_and_apart() {
    for (least, most) in [("1", "1"), ("2", "1"), ("-1e308", "1e308"), ("0", "1e-310")] {
        let text = format!("\"number\": {{\"least\": {least}, \"most\": {most}}}");
        assert!(target(&text).is_err(), "{text}");
    }
    for most in ["0", "16777217", "-1", "0.5"] {
        assert!(target(&format!("\"count\": {{\"most\": {most}}}")).is_err());
    }
    let nan = TargetSpec {
        column: "y".to_owned(),
        kind: TargetKind::Number {
            least: 0.0,
            most: f64::NAN,
        },
    };
    assert_eq!(nan.check().unwrap_err().code(), "schema_not_finite");
}

#[test]
fn classes_are_found_by_name_or_number() {
    let named = kind("\"classes\": [\"benign\", \"malignant\", \"3\"]");
    assert_eq!(value(&named, "malignant"), 1.0);
    assert_eq!(value(&named, "3.0"), 2.0);
    for unknown in ["2", "Benign", "nan"] {
        assert_eq!(named.label(unknown), Err(NoLabel::UnknownClass));
    }
}

#[test]
fn a_number_lies_between_0_and_1_and_what_is_beyond_is_the_bound() {
    let bounded = kind("\"number\": {\"least\": -10, \"most\": 30}");
    assert_eq!(value(&bounded, "-10"), 0.0);
    assert_eq!(value(&bounded, "20"), 0.75);
    assert_eq!(value(&bounded, "30"), 1.0);
    for (field, bound) in [("31", 1.0), ("1e300", 1.0), ("-11", 0.0)] {
        let label = bounded.label(field).unwrap();
        assert!(label.beyond && label.value == bound, "{field}");
    }
    for field in ["inf", "NaN", "ten", "1e999"] {
        assert_eq!(bounded.label(field), Err(NoLabel::NotANumber));
    }
    assert_eq!(bounded.prediction().unwrap(), "-10 + 40 * output");
}

#[test]
fn a_count_is_an_integer_from_0() {
    let count = kind("\"count\": {\"most\": 12}");
    assert_eq!((value(&count, "0"), value(&count, "12.0")), (0.0, 12.0));
    let label = count.label("13").unwrap();
    assert!(label.beyond && label.value == 12.0);
    for field in ["-1", "1.5"] {
        assert_eq!(count.label(field), Err(NoLabel::NotACount));
    }
}

#[test]
fn every_target_has_an_encoding_of_its_own() {
    let targets = [
        "\"positive_above\": 0",
        "\"positive_above\": 1",
        "\"classes\": 2",
        "\"classes\": 3",
        "\"classes\": [\"1\", \"0\"]",
        "\"classes\": [\"01\", \"2\"]",
        "\"number\": {\"least\": 0, \"most\": 1}",
        "\"number\": {\"least\": 0, \"most\": 2}",
        "\"number\": {\"least\": -1, \"most\": 1}",
        "\"count\": {\"most\": 1}",
        "\"count\": {\"most\": 2}",
    ];
    let encoded = targets.map(|text| {
        let target = target(text).unwrap();
        target.encode(Canonical::new("test")).finish()
    });
    let all: std::collections::BTreeSet<_> = encoded.iter().collect();
    assert_eq!(all.len(), targets.len());
    // A binary target is encoded as it always was.
    let binary = Canonical::new("test").str("y").u64(0.0_f64.to_bits());
    assert_eq!(encoded[0], binary.finish());
}
