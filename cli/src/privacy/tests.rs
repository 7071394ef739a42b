//! The commands' answers: figures of other accountants, and what a job's promise says.

use clap::Parser;
use consort_contract::{Job, Plan};
use serde_json::{Value, json};

use super::{Command, explain};
use crate::failure::{Exit, Failure};

/// The arguments behind `consort privacy`.
#[derive(Parser)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// The JSON answer to a line of arguments.
fn asked(line: &str) -> Result<Value, Failure> {
    let words = ["privacy"].into_iter().chain(line.split_whitespace());
    match Arguments::try_parse_from(words).unwrap().command {
        Command::Epsilon(options) => options.answer().map(|(answer, _)| answer),
        Command::Sigma(options) => options.answer().map(|(answer, _)| answer),
        Command::Budget(_) | Command::Explain(_) => unreachable!("not asked here"),
    }
}

fn is_near(found: &Value, expected: f64, relative: f64) -> bool {
    found
        .as_f64()
        .is_some_and(|found| (found / expected - 1.0).abs() <= relative)
}

#[test]
fn epsilons_are_those_of_googles_accountants() {
    let answer = asked("epsilon --sigma 1 --sampling 0.01 --steps 1000 --delta 1e-5").unwrap();
    assert!(is_near(&answer["rdp"], 2.107_753_075, 1e-6), "{answer}");
    assert!(is_near(&answer["pld"], 1.828_243_646, 1e-3), "{answer}");
}

#[test]
fn a_cap_on_the_batch_costs_something() {
    let line = "epsilon --sigma 2 --sampling 0.1 --steps 500 --delta 1e-5";
    let plain = asked(line).unwrap();
    let capped = asked(&format!("{line} --max-batch 32 --records 200")).unwrap();
    assert!(is_near(&plain["pld"], 5.555_47, 1e-3), "{plain}");
    assert!(is_near(&capped["pld"], 5.786_532_8, 1e-3), "{capped}");
}

#[test]
fn a_cap_on_batches_of_a_data_set_of_secret_size_costs_more_than_on_one_of_the_greatest() {
    let line = "epsilon --sigma 2 --sampling 0.1 --steps 500 --delta 1e-5 --max-batch 32";
    let figure = |size: &str| {
        asked(&format!("{line} {size}")).unwrap()["pld"]
            .as_f64()
            .unwrap()
    };
    let bound = figure("--records-at-most 200");
    for records in [60, 120, 200] {
        let known = figure(&format!("--records {records}"));
        assert!(known < bound, "{records}: {known} {bound}");
    }
    assert!(bound.is_finite());
}

#[test]
fn the_noise_for_an_epsilon_gives_that_epsilon_and_no_more() {
    let asked_for = "--sampling 0.1 --steps 500 --delta 1e-5";
    let answer = asked(&format!("sigma --epsilon 2 {asked_for}")).unwrap();
    assert!(is_near(&answer["rdp"], 4.932_668, 1e-4), "{answer}");
    assert!(is_near(&answer["pld"], 4.577_63, 1e-3), "{answer}");
    let sigma = &answer["pld"];
    let back = asked(&format!("epsilon --sigma {sigma} {asked_for}")).unwrap();
    assert!(back["pld"].as_f64().unwrap() <= 2.0, "{back}");
    assert!(is_near(&back["pld"], 2.0, 1e-3), "{back}");
}

#[test]
fn an_exchanged_record_costs_more_than_an_added_one() {
    let line = "epsilon --sigma 10 --sampling 1 --steps 100 --delta 1e-5";
    let added = asked(line).unwrap();
    let exchanged = asked(&format!("{line} --relation replace-one")).unwrap();
    assert!(is_near(&added["exact"], 4.377_178_5, 1e-6), "{added}");
    assert!(
        is_near(&exchanged["exact"], 9.997_256_4, 1e-6),
        "{exchanged}"
    );
}

#[test]
fn questions_without_an_answer_are_refused_by_name() {
    let refused = |line: &str| {
        let failure = asked(line).unwrap_err();
        assert_eq!(failure.exit, Exit::Usage, "{failure}");
        failure.code
    };
    let rate = refused("epsilon --sigma 1 --sampling 1.5 --steps 20 --delta 1e-5");
    assert_eq!(rate, "privacy_sampling_rate_out_of_range");
    let steps = refused("epsilon --sigma 1 --sampling 0.5 --steps -3 --delta 1e-5");
    assert_eq!(steps, "privacy_steps_out_of_range");
    let delta = refused("epsilon --sigma 1 --sampling 0.5 --steps 3 --delta 1e-15");
    assert_eq!(delta, "privacy_pld_delta_too_small");
    let noise = refused("epsilon --sigma NaN --sampling 0.5 --steps 3 --delta 1e-5");
    assert_eq!(noise, "privacy_noise_multiplier_out_of_range");
}

/// A job of five clinics with this algorithm.
fn job(algorithm: &str, terms: Value) -> (Job, Plan) {
    let mut document = json!({
        "name": "heart", "purpose": "research", "dataset": "heart",
        "members": ["a", "b", "c", "d", "e"],
        "data": {
            "missing": "refuse",
            "target": { "column": "y", "positive_above": 0.5 },
            "features": [{ "numeric": { "column": "x", "center": 0.0, "scale": 1.0, "clip": 3.0 } }],
        },
        "model": {
            "layers": [{ "dense": { "outputs": 1 } }],
            "loss": "binary_cross_entropy",
            "seed": "00".repeat(32),
        },
        "privacy": { "epsilon": 1.0, "delta": 1e-5, "c_noise": 1 },
        "aggregation": { "colluders": null, "minimum": null, "dropouts": null },
        "deadlines": {
            "voting_ms": 20000, "joining_ms": 20000, "sharing_ms": 20000,
            "collecting_ms": 60000, "confirming_ms": 20000, "unmasking_ms": 20000,
        },
    });
    document[algorithm] = terms;
    let job = Job::new(serde_json::from_value(document).unwrap()).unwrap();
    let plan = Plan::derive(&job).unwrap();
    (job, plan)
}

#[test]
fn shared_noise_is_promised_to_as_many_colluders_as_the_contract_says() {
    let (job, plan) = job(
        "dp_fedsgd",
        json!({ "rounds": 20, "clip": 0.25, "learning_rate": 8.0, "momentum": 0.5, "divisor": 450.0,
                "loss_weight": 0.3, "max_records_per_member": 600 }),
    );
    let answer = explain::to_json(&job, plan.noise());
    assert_eq!(answer["noise"]["source"], "cohort");
    let promised: Vec<_> = answer["coalitions"].as_array().unwrap().iter().collect();
    assert_eq!(promised.len(), 4);
    for coalition in promised {
        let is_promised = coalition["colluding"].as_u64().unwrap() <= 1;
        assert_eq!(coalition["promised"], is_promised, "{coalition}");
        let keeps = coalition["epsilon"].as_f64().unwrap() <= 1.0;
        assert_eq!(keeps, is_promised, "{coalition}");
    }
    let text = explain::to_text(&job, plan.noise());
    assert!(
        text.contains("every coalition of up to 1 members"),
        "{text}"
    );
    assert!(text.contains("20 noised sums in all"), "{text}");
}

#[test]
fn a_sites_own_noise_is_promised_against_everybody_else() {
    let (job, plan) = job(
        "fedavg",
        json!({ "rounds": 10, "local_steps": 2, "clip": 0.25, "local_learning_rate": 8.0, "local_divisor": 90.0,
                "loss_weight": 0.3, "max_records_per_member": 600, "update_clip": 2.0, "value_range": null,
                "value_bits": 16, "rotation": "hadamard", "learning_rate": 1.0, "momentum": 0.5 }),
    );
    let answer = explain::to_json(&job, plan.noise());
    assert_eq!(answer["noise"]["source"], "site");
    assert_eq!(answer["promise"]["steps_per_round"], 2);
    for coalition in answer["coalitions"].as_array().unwrap() {
        assert_eq!(coalition["promised"], true, "{coalition}");
        assert!(coalition["epsilon"].as_f64().unwrap() <= 1.0, "{coalition}");
    }
    let text = explain::to_text(&job, plan.noise());
    assert!(text.contains("20 noised sums in all"), "{text}");
    assert!(text.contains("counts on nobody else's"), "{text}");
}

#[test]
fn sampled_batches_are_explained_by_their_rate_cap_and_the_bound_on_records() {
    let (job, plan) = job(
        "dp_fedsgd",
        json!({ "rounds": 100, "clip": 0.25, "learning_rate": 1.0, "momentum": 0.0, "divisor": 30.0, "max_records_per_member": 600,
                "sampling": { "rate": 0.05, "max_batch": 80 } }),
    );
    let answer = explain::to_json(&job, plan.noise());
    let expected = json!({ "sampling": 0.05, "max_batch": 80, "records_at_most": 600 });
    assert_eq!(answer["batches"], expected);
    let sigma = answer["noise"]["sigma"].as_f64().unwrap();
    // What the text tells suffices to compute the figure again.
    let line = format!(
        "epsilon --sigma {sigma} --sampling 0.05 --steps 100 --delta 1e-5 --max-batch 80 --records-at-most 600"
    );
    let again = asked(&line).unwrap();
    assert!(
        is_near(
            &again["pld"],
            answer["spend"]["pld"].as_f64().unwrap(),
            1e-9
        ),
        "{again}"
    );
    for coalition in answer["coalitions"].as_array().unwrap() {
        let is_promised = coalition["colluding"].as_u64().unwrap() <= 1;
        assert_eq!(coalition["promised"], is_promised, "{coalition}");
        let keeps = coalition["epsilon"].as_f64().unwrap() <= 1.0;
        assert_eq!(keeps, is_promised, "{coalition}");
    }
    let text = explain::to_text(&job, plan.noise());
    assert!(text.contains("probability 0.05 by a secret coin"), "{text}");
    assert!(!text.contains("full batches"), "{text}");
}
