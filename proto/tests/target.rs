//! Targets on the wire.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use consort_contract::{Job, JobDocument};
use consort_proto::convert::{job_from_wire, job_to_wire};
use consort_proto::wire::job::v1 as wire;
use prost::Message;
use wire::target_spec::Kind;

fn document(target: &str, outputs: u32, loss: &str) -> JobDocument {
    let text = format!(
        r#"{{
            "name": "small", "purpose": "tests", "dataset": "records",
            "members": ["clinic-1", "clinic-2", "clinic-3"],
            "data": {{
                "features": [{{"numeric": {{"column": "x", "center": 0, "scale": 1, "clip": 3}}}}],
                "target": {{"column": "y", {target}}}
            }},
            "model": {{"layers": [{{"dense": {{"outputs": {outputs}}}}}], "loss": "{loss}"}},
            "evaluate": {{"model_of": "job-1", "parameters": "{}", "max_records_per_member": 100}},
            "privacy": {{"epsilon": 1.0, "delta": 0.00001}}
        }}"#,
        "ab".repeat(32)
    );
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_target_survives_the_wire() {
    for (target, outputs, loss) in [
        (r#""classes": ["a", "b", "3"]"#, 3, "cross_entropy"),
        (r#""classes": 10"#, 10, "cross_entropy"),
        (
            r#""number": {"least": -2.5, "most": 1e6}"#,
            1,
            "squared_error",
        ),
        (r#""count": {"most": 50}"#, 1, "poisson"),
    ] {
        let document = document(target, outputs, loss);
        let hash = Job::new(document.clone()).unwrap().hash();
        let bytes = job_to_wire(&document).encode_to_vec();
        let spec = wire::JobSpec::decode(bytes.as_slice()).unwrap();
        let again = job_from_wire(Some(spec)).unwrap();
        assert_eq!(again, document, "{target}");
        assert_eq!(Job::new(again).unwrap().hash(), hash);
    }
}

#[test]
fn a_binary_target_has_the_bytes_that_it_had_before_there_were_others() {
    let target = wire::TargetSpec {
        column: "y".to_owned(),
        positive_above: 0.5,
        kind: None,
    };
    // Field 1, two bytes long; field 2, a binary64.
    let mut bytes = vec![0x0a, 1, b'y', 0x11];
    bytes.extend(0.5_f64.to_le_bytes());
    assert_eq!(target.encode_to_vec(), bytes);
}

#[test]
fn a_target_of_two_kinds_or_of_bad_bounds_is_refused() {
    let spec = |positive_above, kind| {
        let mut spec = job_to_wire(&document(r#""classes": 3"#, 3, "cross_entropy"));
        let target = spec.data.as_mut().unwrap().target.as_mut().unwrap();
        target.positive_above = positive_above;
        target.kind = Some(kind);
        job_from_wire(Some(spec)).unwrap_err().to_string()
    };
    let names = |names: &[&str]| {
        let names = names.iter().map(|name| (*name).to_owned()).collect();
        Kind::Classes(wire::ClassesTarget { names })
    };
    let both = spec(0.5, names(&["a", "b"]));
    assert!(both.contains("positive_above"), "{both}");
    for (kind, reason) in [
        (names(&["a"]), "levels"),
        (names(&["a", "a"]), "differ"),
        (
            Kind::Number(wire::NumberTarget {
                least: 1.0,
                most: 1.0,
            }),
            "below number.most",
        ),
        (
            Kind::Number(wire::NumberTarget {
                least: f64::NAN,
                most: 1.0,
            }),
            "finite",
        ),
        (Kind::Count(wire::CountTarget { most: 0 }), "count.most"),
    ] {
        let refused = spec(0.0, kind);
        assert!(refused.contains(reason), "{refused}");
    }
}
