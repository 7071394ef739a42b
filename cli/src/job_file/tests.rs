//! What job files say, and what is said of those that say it wrong.

use super::*;

const SAMPLE: &str = include_str!("../../job.sample.yaml");

/// The sample as JSON, one field a line.
fn sample_json() -> String {
    let job = parse(SAMPLE, false).unwrap();
    serde_json::to_string_pretty(job.document()).unwrap()
}

fn refusal(text: &str, is_json: bool) -> String {
    match parse(text, is_json).unwrap_err() {
        Problem::File(text) | Problem::Job(_, text) => text,
    }
}

/// The line on which this stands first.
fn line(text: &str, what: &str) -> usize {
    text.lines().position(|line| line.contains(what)).unwrap() + 1
}

#[test]
fn a_job_is_the_same_job_in_yaml_and_in_json() {
    let yaml = parse(SAMPLE, false).unwrap();
    let json = parse(&sample_json(), true).unwrap();
    assert_eq!(yaml.hash(), json.hash());
    let asked = yaml.document().requirements;
    assert_eq!(asked.memory_bytes, Some(1_000_000_000));
    // JSON is YAML too.
    assert_eq!(parse(&sample_json(), false).unwrap().hash(), yaml.hash());
}

#[test]
fn the_choices_that_the_sample_leaves_out_are_valid_too() {
    let all = SAMPLE
        .replace("# enclave:", "enclave:")
        .replace("  # encryption: {", "  encryption: {")
        .replace(
            "{ logging: enabled }",
            "{ logging: enabled, alerts: configured }",
        );
    let job = parse(&all, false).unwrap();
    let asked = job.document().requirements;
    assert!(asked.genuine_hardware && asked.metrics);
    let encryption = job.document().data_access.encryption.unwrap();
    assert_eq!(encryption.key_rotation_days, 30);
}

#[test]
fn an_error_names_its_line_and_field_in_yaml_and_in_json() {
    let json = sample_json();
    // What is changed in the YAML and in the JSON, to what, the field, and the reason.
    for (yaml, of_json, field, reason) in [
        (
            ("epsilon: 1.0", "epsilon: lots"),
            ("\"epsilon\": 1.0", "\"epsilon\": \"lots\""),
            "privacy.epsilon",
            "",
        ),
        (
            ("epsilon: 1.0", "epsilon: -1"),
            ("\"epsilon\": 1.0", "\"epsilon\": -1"),
            "privacy.epsilon",
            "above 0",
        ),
        (
            ("momentum: 0.9", "momentun: 0.9"),
            ("\"momentum\": 0.9", "\"momentun\": 0.9"),
            "dp_fedsgd",
            "momentun",
        ),
        (
            ("rounds: 20", "rounds: 0"),
            ("\"rounds\": 20", "\"rounds\": 0"),
            "dp_fedsgd.rounds",
            "outside its range",
        ),
        (
            ("minimum: 4", "minimum: 40"),
            ("\"minimum\": 4", "\"minimum\": 40"),
            "aggregation",
            "n_min",
        ),
        (
            ("memory: 1GB", "memory: much"),
            ("\"memory\": \"1GB\"", "\"memory\": \"much\""),
            "training_job.compute.memory",
            "a size such as",
        ),
    ] {
        for (text, (from, to), is_json) in [(SAMPLE, yaml, false), (json.as_str(), of_json, true)] {
            assert!(text.contains(from), "{from}");
            let text = text.replacen(from, to, 1);
            let said = refusal(&text, is_json);
            assert!(said.contains(field) && said.contains(reason), "{said}");
            let changed = line(&text, to);
            // A table whose numbers do not fit together is named by its own line.
            let table = line(&text, "aggregation");
            assert!(
                said.contains(&format!("line {changed}"))
                    || field == "aggregation" && said.contains(&format!("line {table}")),
                "{to} is on line {changed}: {said}"
            );
        }
    }
}

#[test]
fn what_cannot_be_honoured_is_refused_on_its_line_with_the_reason() {
    for (from, to, reason) in [
        ("gpu: disabled", "gpu: enabled", "processors"),
        (
            "authorization: operator-token",
            "authorization: role-based",
            "roles",
        ),
        ("encryption: AES-256", "encryption: none", "AES-256"),
    ] {
        let text = SAMPLE.replacen(from, to, 1);
        let said = refusal(&text, false);
        let at = format!("line {}", line(&text, to));
        assert!(said.contains(&at) && said.contains(reason), "{said}");
    }
}

#[test]
fn a_target_that_the_model_does_not_learn_is_refused_on_the_line_of_the_model() {
    const BINARY: &str = "positive_above: 0.5 }";
    let outputs = "{ dense: { outputs: 1 } }]";
    for (target, loss, outputs_now, at, reason) in [
        (
            "classes: 3 }",
            "binary_cross_entropy",
            outputs,
            "loss:",
            "cross_entropy",
        ),
        (
            "classes: 3 }",
            "cross_entropy",
            "{ dense: { outputs: 4 } }]",
            "layers:",
            "3 classes",
        ),
        (
            "classes: 3 }",
            "cross_entropy",
            outputs,
            "model:",
            "an output for each class",
        ),
        (
            "count: { most: 9 } }",
            "squared_error",
            outputs,
            "loss:",
            "poisson",
        ),
        (
            "number: { least: 0, most: 9 } }",
            "poisson",
            outputs,
            "loss:",
            "squared_error",
        ),
        (
            "number: { least: 9, most: 9 } }",
            "squared_error",
            outputs,
            "target:",
            "below number.most",
        ),
        (
            "count: { most: 0 } }",
            "poisson",
            outputs,
            "target:",
            "count.most",
        ),
        (
            "classes: 1 }",
            "cross_entropy",
            outputs,
            "target:",
            "2 to 1024",
        ),
        (
            "classes: [a, a] }",
            "cross_entropy",
            outputs,
            "target:",
            "differ",
        ),
        ("median: 2 }", "squared_error", outputs, "target:", "median"),
        (
            "classes: 3, count: { most: 2 } }",
            "poisson",
            outputs,
            "target:",
            "exactly one",
        ),
    ] {
        let text = SAMPLE
            .replacen(BINARY, target, 1)
            .replacen("binary_cross_entropy", loss, 1)
            .replacen(outputs, outputs_now, 1);
        let said = refusal(&text, false);
        let named = format!("line {}", line(&text, at));
        assert!(
            said.contains(&named) && said.contains(reason),
            "{target} {loss}: {said}"
        );
    }
    let text = SAMPLE
        .replacen(BINARY, "classes: [home, ward, home-care] }", 1)
        .replacen("binary_cross_entropy", "cross_entropy", 1)
        .replacen(outputs, "{ dense: { outputs: 3 } }]", 1);
    assert!(parse(&text, false).is_ok());
}

#[test]
fn a_file_that_is_no_job_is_refused_and_never_panics() {
    for text in [
        "",
        "# nothing\n",
        "name",
        "- a\n- b\n",
        "name: a\nname: b\n",
        "{",
        "{}",
        "name: &a [*a]\n",
        "a: &a [x,x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n",
        "name: !!binary x\n---\nname: b\n",
        "\u{0}",
    ] {
        for is_json in [false, true] {
            assert!(!refusal(text, is_json).is_empty());
        }
    }
    let deep = "[".repeat(100_000);
    assert!(parse(&deep, false).is_err() && parse(&deep, true).is_err());
    let long = format!("# {}\n{SAMPLE}", "x".repeat(MAX_JOB_BYTES));
    assert!(refusal(&long, false).contains("at most"));
}

#[test]
fn layers_are_read_from_yaml_and_those_that_do_not_fit_are_named() {
    let small = "[{ dense: { outputs: 8 } }, relu, { dense: { outputs: 1 } }]";
    let with = |layers: &str| SAMPLE.replace(small, layers);
    // Inputs: age, and two of the ward's three levels.
    let embedded = "[{ embedding: { columns: [{ first: 1, levels: 3, outputs: 2 }] } }, \
         { residual: { layers: [layer_norm, { dense: { outputs: 3 } }, tanh] } }, { dense: { outputs: 1 } }]";
    let job = parse(&with(embedded), false).unwrap();
    assert_eq!(job.model().layers().len(), 3);
    for (layers, reason) in [
        (
            "[{ dense: { outputs: 1000000 } }, relu, { dense: { outputs: 1000000 } }, { dense: { outputs: 1 } }]",
            "layer 2 (dense, 1000000 inputs, 1000000 outputs) takes the model past 67108864 parameters",
        ),
        (
            "[{ image: { channels: 1, height: 2, width: 2 } }, flatten, { dense: { outputs: 1 } }]",
            "layer 0 (image) declares 1 × 2 × 2 elements, at least 1, and 3 enter it",
        ),
        (
            "[{ embedding: { columns: [{ first: 0, levels: 3, outputs: 2 }] } }, { dense: { outputs: 1 } }]",
            "no category of the schema has these inputs: ward has first 1 and levels 3",
        ),
        ("[{ conv2d: { outputs: 1, stride: 2 } }]", "stride"),
    ] {
        let said = refusal(&with(layers), false);
        assert!(said.contains(reason) && said.contains("model"), "{said}");
    }
}
