//! What a job does, on the wire.
#![expect(
    clippy::unwrap_used,
    reason = "helpers of tests fail by panicking, as tests do"
)]

use consort_contract::{Job, JobDocument, Plan};
use consort_proto::convert::{job_from_wire, job_to_wire, plan_from_wire, plan_to_wire};
use consort_proto::wire::job::v1 as wire;
use prost::Message;
use wire::job_spec::Algorithm as OnWire;

fn document(algorithm: &str) -> JobDocument {
    let text = format!(
        r#"{{
            "name": "small", "purpose": "tests", "dataset": "records",
            "members": ["clinic-1", "clinic-2", "clinic-3"],
            "data": {{
                "features": [{{"numeric": {{"column": "x", "center": 0, "scale": 1, "clip": 3}}}}],
                "target": {{"column": "y", "positive_above": 0.5}}
            }},
            "model": {{"layers": [{{"dense": {{"outputs": 1}}}}], "loss": "binary_cross_entropy"}},
            {algorithm},
            "privacy": {{"epsilon": 1.0, "delta": 0.00001}}
        }}"#
    );
    serde_json::from_str(&text).unwrap()
}

fn fedavg(more: &str) -> JobDocument {
    document(&format!(
        r#""fedavg": {{
            "rounds": 3, "local_steps": 4, "clip": 1.0, "local_learning_rate": 0.5, "local_divisor": 20.0,
            "loss_weight": 0.1, "max_records_per_member": 100, "update_clip": 2.0, "value_bits": 16,
            "learning_rate": 1.0, "momentum": 0.5 {more}
        }}"#
    ))
}

fn dp_fedsgd() -> JobDocument {
    document(
        r#""dp_fedsgd": {
            "rounds": 3, "clip": 1.0, "learning_rate": 0.5, "momentum": 0.0, "divisor": 20.0,
            "loss_weight": 0.1, "max_records_per_member": 100
        }"#,
    )
}

fn stats() -> JobDocument {
    let mut text = serde_json::to_value(dp_fedsgd()).unwrap();
    let document = text.as_object_mut().unwrap();
    document.remove("dp_fedsgd");
    document.remove("model");
    document.insert(
        "stats".to_owned(),
        serde_json::json!({
            "queries": [
                {"mean": {"column": "x"}},
                {"variance": {"column": "x", "weight": 0.5}},
                {"histogram": {"column": "x", "bins": 8}},
                {"quantiles": {"column": "x", "bins": 16, "at": [0.25, 0.5]}},
                {"categories": {"column": "y", "weight": 2.0}}
            ],
            "count_weight": 3.0,
            "max_records_per_member": 100
        }),
    );
    serde_json::from_value(text).unwrap()
}

fn evaluate() -> JobDocument {
    document(&format!(
        r#""evaluate": {{
            "model_of": "job-1", "parameters": "{}", "threshold": 0.25, "bins": 16,
            "weights": {{"count": 1.0, "confusion": 2.0, "scores": 3.0, "loss": 4.0}}, "max_records_per_member": 100
        }}"#,
        "ab".repeat(32)
    ))
}

const ADAM: &str = r#"{"fedadam": {"beta1": 0.9, "beta2": 0.99, "tau": 0.001}}"#;
const YOGI: &str = r#"{"fedyogi": {"beta1": 0.8, "beta2": 0.98, "tau": 0.002}}"#;
const STEPS: &str = r#"{"warmup_rounds": 1, "decay": {"step": {"every": 2, "factor": 0.5}}}"#;
const COSINE: &str = r#"{"decay": {"cosine": {"last": 0.25}}}"#;

fn with_options(document: JobDocument, algorithm: &str, options: &[(&str, &str)]) -> JobDocument {
    let mut json = serde_json::to_value(document).unwrap();
    for (name, value) in options {
        json[algorithm][name] = serde_json::from_str(value).unwrap();
    }
    serde_json::from_value(json).unwrap()
}

#[test]
fn an_optimizer_without_a_kind_is_refused_by_name() {
    let mut spec = job_to_wire(&with_options(
        dp_fedsgd(),
        "dp_fedsgd",
        &[("server_optimizer", ADAM)],
    ));
    let Some(OnWire::DpFedsgd(terms)) = &mut spec.algorithm else {
        panic!("the document says dp_fedsgd")
    };
    terms.server_optimizer = Some(wire::ServerOptimizer { kind: None });
    let refused = job_from_wire(Some(spec)).unwrap_err();
    assert_eq!(refused.code(), "wire_field_missing");
}

#[test]
fn a_job_of_any_kind_comes_back_from_the_wire_with_its_hash_and_plan() {
    let documents = [
        dp_fedsgd(),
        fedavg(""),
        fedavg(r#", "value_range": 0.5, "rotation": "hadamard""#),
        stats(),
        evaluate(),
        with_options(
            dp_fedsgd(),
            "dp_fedsgd",
            &[("server_optimizer", ADAM), ("schedule", COSINE)],
        ),
        with_options(
            dp_fedsgd(),
            "dp_fedsgd",
            &[("schedule", r#"{"warmup_rounds": 1}"#)],
        ),
        with_options(
            dp_fedsgd(),
            "dp_fedsgd",
            &[("sampling", r#"{"rate": 0.5, "max_batch": 90}"#)],
        ),
        with_options(
            fedavg(""),
            "fedavg",
            &[
                ("momentum", "0"),
                ("server_optimizer", YOGI),
                ("schedule", STEPS),
                ("local_schedule", COSINE),
                ("proximal", "0.5"),
            ],
        ),
    ];
    for document in documents {
        let bytes = job_to_wire(&document).encode_to_vec();
        let read = job_from_wire(Some(wire::JobSpec::decode(&bytes[..]).unwrap())).unwrap();
        let (sent, read) = (Job::new(document).unwrap(), Job::new(read).unwrap());
        assert_eq!(sent.hash(), read.hash());
        let plan = Plan::derive(&sent).unwrap();
        let same = plan_from_wire(&read, Some(plan_to_wire(&sent, &plan))).unwrap();
        assert_eq!(same, plan);
    }
}

#[test]
fn a_plan_of_fedavg_with_another_width_or_variance_does_not_follow_from_its_job() {
    let job = Job::new(fedavg("")).unwrap();
    let told = plan_to_wire(&job, &Plan::derive(&job).unwrap());
    assert_eq!(told.noise_bound, 0);
    type Change = fn(&mut wire::PlanSpec);
    let changes: [(Change, &str); 4] = [
        (|plan| plan.width_bits += 1, "plan.width_bits"),
        (|plan| plan.member_variance /= 2, "plan.member_variance"),
        (|plan| plan.noise_bound = 1, "plan.noise_bound"),
        (|plan| plan.sigma /= 2.0, "plan"),
    ];
    for (change, field) in changes {
        let mut changed = told.clone();
        change(&mut changed);
        let refused = plan_from_wire(&job, Some(changed)).unwrap_err().to_string();
        assert!(refused.contains(field), "{refused}");
    }
}

#[test]
fn dp_fedsgd_has_the_bytes_that_it_had_before_there_was_another_algorithm() {
    let Some(OnWire::DpFedsgd(terms)) = job_to_wire(&dp_fedsgd()).algorithm else {
        panic!("the document says dp_fedsgd")
    };
    let spec = wire::JobSpec {
        algorithm: Some(OnWire::DpFedsgd(terms)),
        ..wire::JobSpec::default()
    };
    // Field 7, length-delimited, and the seven fields of the message in order.
    let mut expected = vec![0x3a, 0];
    expected.extend([0x08, 3]);
    for (tag, value) in [(0x11, 1.0_f64), (0x19, 0.5)] {
        expected.push(tag);
        expected.extend(value.to_le_bytes());
    }
    // Momentum is 0, which is not sent.
    for (tag, value) in [(0x29, 20.0_f64), (0x31, 0.1)] {
        expected.push(tag);
        expected.extend(value.to_le_bytes());
    }
    expected.extend([0x38, 100]);
    expected[1] = u8::try_from(expected.len() - 2).unwrap();
    assert_eq!(spec.encode_to_vec(), expected);
}

#[test]
fn a_job_without_an_algorithm_and_an_update_without_a_rotation_are_refused_by_name() {
    let mut spec = job_to_wire(&fedavg(""));
    let Some(OnWire::Fedavg(terms)) = &mut spec.algorithm else {
        panic!("the document says fedavg")
    };
    terms.rotation = wire::Rotation::Unspecified.into();
    let refused = job_from_wire(Some(spec.clone())).unwrap_err();
    assert_eq!(refused.code(), "wire_field_invalid");
    assert!(
        refused.to_string().contains("spec.fedavg.rotation"),
        "{refused}"
    );
    spec.algorithm = None;
    let refused = job_from_wire(Some(spec)).unwrap_err();
    assert_eq!(refused.code(), "wire_field_missing");
    let said = refused.to_string();
    assert!(said.contains("spec.stats or spec.evaluate"), "{said}");
}

#[test]
fn questions_that_say_nothing_and_models_where_none_or_one_is_due_are_refused_by_name() {
    let mut spec = job_to_wire(&stats());
    assert_eq!(spec.model, None);
    let Some(OnWire::Stats(asked)) = &mut spec.algorithm else {
        panic!("the document asks for statistics")
    };
    asked.queries[0].kind = None;
    let refused = job_from_wire(Some(spec)).unwrap_err();
    assert_eq!(refused.code(), "wire_field_missing");
    assert!(refused.to_string().contains("spec.stats.queries.kind"));

    let mut needless = job_to_wire(&stats());
    needless.model = job_to_wire(&evaluate()).model;
    let document = job_from_wire(Some(needless)).unwrap();
    let refused = Job::new(document).unwrap_err();
    assert_eq!(refused.code(), "query_needless_model");

    let mut modelless = job_to_wire(&evaluate());
    modelless.model = None;
    let refused = job_from_wire(Some(modelless)).unwrap_err();
    assert!(refused.to_string().contains("spec.model"), "{refused}");

    let mut short = job_to_wire(&evaluate());
    let Some(OnWire::Evaluate(asked)) = &mut short.algorithm else {
        panic!("the document evaluates")
    };
    asked.parameters.pop();
    let refused = job_from_wire(Some(short)).unwrap_err();
    assert!(
        refused.to_string().contains("spec.evaluate.parameters"),
        "{refused}"
    );
}
