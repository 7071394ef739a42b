//! Jobs of classes and of numbers on real processes: trained, released with what their outputs stand for, and evaluated.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::consortium::{Consortium, when_it_listens};

const CLINICS: [&str; 5] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4", "clinic-5"];

/// Honest noise is farther off than five of its standard errors once in two million.
const FAR: f64 = 5.0;

const DIGITS: &str = include_str!("../../../cli/data/digits.csv");

/// A record: inputs as the schema makes them, and the label.
type Record = (Vec<f64>, f64);

/// Deals rows to the clinics' files `NAME.csv` and `NAME-held-out.csv`, has their owners name and allow both, and gives back what is
/// held out.
fn deal(consortium: &Consortium, name: &str, text: &str) -> Vec<String> {
    let mut lines = text.lines();
    let header = lines.next().unwrap();
    let mut files: Vec<[String; 2]> = vec![[format!("{header}\n"), format!("{header}\n")]; 5];
    let mut held_out = Vec::new();
    for (place, line) in lines.enumerate() {
        let is_held_out = (place / 5) % 4 == 0;
        writeln!(files[place % 5][usize::from(is_held_out)], "{line}").unwrap();
        if is_held_out {
            held_out.push(line.to_owned());
        }
    }
    for (clinic, [train, apart]) in CLINICS.iter().zip(files) {
        let file = |name: &str| consortium.path(clinic).join(format!("{name}.csv"));
        std::fs::write(file(name), train).unwrap();
        let other = format!("{name}-held-out");
        std::fs::write(file(&other), apart).unwrap();
        consortium.edit(&format!("{clinic}/config.toml"), |text| {
            format!("{text}\n[datasets.{name}]\npath = \"{name}.csv\"\n\n[datasets.{other}]\npath = \"{other}.csv\"\n")
        });
        consortium.edit(&format!("{clinic}/consent.toml"), |text| {
            text.replace(
                "datasets = [",
                &format!("datasets = [\"{name}\", \"{other}\", "),
            )
            .replace("max_epsilon_per_job = 1.0", "max_epsilon_per_job = 8.0")
        });
    }
    held_out
}

/// The demo's job with other contents.
fn job(consortium: &Consortium, name: &str, contents: &Value) -> Value {
    let text = std::fs::read_to_string(consortium.path("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&text).unwrap();
    let table = job.as_object_mut().unwrap();
    table.insert("name".to_owned(), name.into());
    table.insert("dataset".to_owned(), name.into());
    for (field, value) in contents.as_object().unwrap() {
        table.insert(field.clone(), value.clone());
    }
    job
}

/// Submits a job and watches it to its end; its id.
fn run(consortium: &Consortium, job: &Value) -> String {
    let path = consortium.path("target.json");
    std::fs::write(&path, job.to_string()).unwrap();
    let check = crate::program::run(&["job", "check", path.to_str().unwrap()]);
    assert!(check.status.success(), "{check:?}");
    let submit = ["job", "submit", "--json", "--job", path.to_str().unwrap()];
    let output = when_it_listens(|| consortium.operate(&submit));
    let submitted: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = submitted["id"].as_str().unwrap().to_owned();
    let watched = consortium.operate(&["job", "watch", &id]);
    assert!(watched.status.success(), "{watched:?}");
    id
}

/// A released model: its tensors, metadata and manifest.
struct Released {
    weights: Vec<f64>,
    biases: Vec<f64>,
    metadata: Value,
    manifest: Value,
}

impl Released {
    fn of(consortium: &Consortium, id: &str) -> Self {
        let out = consortium.path(&format!("model-of-{id}"));
        let download = ["model", "download", id, "--out", out.to_str().unwrap()];
        let told = consortium.operate(&download);
        assert!(told.status.success(), "{told:?}");
        let file = std::fs::read(out.join("model.safetensors")).unwrap();
        let (length, rest) = file.split_first_chunk::<8>().unwrap();
        let (header, data) = rest.split_at(usize::try_from(u64::from_le_bytes(*length)).unwrap());
        let header: Value = serde_json::from_slice(header).unwrap();
        let tensor = |name: &str| -> Vec<f64> {
            let at = |place: usize| header[name]["data_offsets"][place].as_u64().unwrap();
            let range = usize::try_from(at(0)).unwrap()..usize::try_from(at(1)).unwrap();
            let (words, _) = data[range].as_chunks::<4>();
            words
                .iter()
                .map(|word| f32::from_le_bytes(*word).into())
                .collect()
        };
        let manifest = std::fs::read(out.join("manifest.json")).unwrap();
        let manifest: Value = serde_json::from_slice(&manifest).unwrap();
        Self {
            weights: tensor("layer.0.weight"),
            biases: tensor("layer.0.bias"),
            metadata: header["__metadata__"].clone(),
            manifest: manifest["manifest"].clone(),
        }
    }

    fn outputs(&self, inputs: &[f64]) -> Vec<f64> {
        let outputs = self.biases.len();
        let output = |place: usize| {
            let weights = self.weights.iter().skip(place).step_by(outputs);
            let products = inputs
                .iter()
                .zip(weights)
                .map(|(input, weight)| input * weight);
            self.biases[place] + products.sum::<f64>()
        };
        (0..outputs).map(output).collect()
    }
}

/// The same job made to evaluate on what was held out; its report.
fn evaluated(consortium: &Consortium, job: &Value, id: &str, released: &Released) -> Value {
    let mut asking = job.clone();
    let name = format!("{}-held-out", job["name"].as_str().unwrap());
    let table = asking.as_object_mut().unwrap();
    table.remove("dp_fedsgd").unwrap();
    table.insert("dataset".to_owned(), name.into());
    table.insert(
        "evaluate".to_owned(),
        json!({
            "model_of": id, "parameters": released.metadata["consort.parameters"], "max_records_per_member": 1000
        }),
    );
    asking["privacy"]["epsilon"] = 8.0.into();
    let id = run(consortium, &asking);
    let out = consortium.path(&format!("report-of-{id}"));
    let told = consortium.operate(&["job", "report", &id, "--out", out.to_str().unwrap()]);
    assert!(told.status.success(), "{told:?}");
    println!("{}", String::from_utf8(told.stdout).unwrap());
    serde_json::from_slice(&std::fs::read(out.join("report.json")).unwrap()).unwrap()
}

fn near(estimate: &Value, expected: f64) {
    let number = |field: &str| {
        let value = estimate[field].as_f64();
        value.unwrap_or_else(|| panic!("the noise drowns it: {estimate}"))
    };
    let (value, error) = (number("value"), number("standard_error"));
    println!("{value} ± {error} of {expected}");
    // What f32 and the grid round is far below a thousandth of what is told.
    let resolution = 1e-3 * expected.abs();
    assert!(
        (value - expected).abs() <= FAR * error + resolution,
        "{value} ± {error} is far from {expected}"
    );
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

fn numeric(column: &str, center: f64, scale: f64) -> Value {
    json!({"numeric": {"column": column, "center": center, "scale": scale, "clip": 3}})
}

#[test]
fn ten_classes_of_digits_are_learnt_and_evaluated_by_five_clinics() {
    let consortium = Consortium::founded_of(5);
    let held_out = deal(&consortium, "digits", DIGITS);
    let features: Vec<Value> = (0..64)
        .map(|i| numeric(&format!("p{i}"), 5.0, 6.0))
        .collect();
    let job = job(
        &consortium,
        "digits",
        &json!({
            "data": {"features": features, "target": {"column": "digit", "classes": 10}},
            "model": {"layers": [{"dense": {"outputs": 10}}], "loss": "cross_entropy"},
            "dp_fedsgd": {
                "rounds": 10, "clip": 0.5, "learning_rate": 2.4, "momentum": 0.8, "divisor": 1400, "loss_weight": 0.2,
                "max_records_per_member": 1000
            },
            "privacy": {"epsilon": 1.0, "delta": 1e-5}
        }),
    );
    let running = consortium.run(&CLINICS);
    let id = run(&consortium, &job);
    let released = Released::of(&consortium, &id);
    let outputs = &released.manifest["outputs"];
    assert_eq!(
        outputs["target"]["classes"][9], "9",
        "{}",
        released.manifest
    );
    assert_eq!(
        outputs["prediction"],
        released.metadata["consort.prediction"]
    );

    let records: Vec<Record> = held_out
        .iter()
        .map(|line| {
            let fields: Vec<f64> = line
                .split(',')
                .map(|field| field.parse().unwrap())
                .collect();
            let (pixels, digit) = fields.split_at(64);
            (
                pixels.iter().map(|pixel| (pixel - 5.0) / 6.0).collect(),
                digit[0],
            )
        })
        .collect();
    let judged: Vec<(usize, usize, f64)> = records
        .iter()
        .map(|(inputs, label)| {
            let outputs = released.outputs(inputs);
            let most = outputs.iter().copied().fold(f64::MIN, f64::max);
            let called = outputs.iter().position(|output| *output == most).unwrap();
            let digit = (0..10).find(|digit| number(*digit) == *label).unwrap();
            let sum: f64 = outputs.iter().map(|output| (output - most).exp()).sum();
            (digit, called, sum.ln() - (outputs[digit] - most))
        })
        .collect();
    let share = |count: usize| number(count) / number(judged.len());
    let right = share(
        judged
            .iter()
            .filter(|(digit, called, _)| digit == called)
            .count(),
    );
    println!(
        "accuracy {right} on {} held-out digits at epsilon 1",
        judged.len()
    );
    // Ten rounds, so that the story is short: 0.89 in the median, and of ten runs none below 0.86.
    assert!(right > 0.8, "{right}");

    let report = evaluated(&consortium, &job, &id, &released);
    near(&report["records"], number(judged.len()));
    let scores = &report["answers"]["classes"];
    near(&scores["accuracy"], right);
    let limit = scores["loss_limit"].as_f64().unwrap();
    let losses = judged.iter().map(|(_, _, loss)| loss.min(limit));
    near(&scores["loss"], losses.sum::<f64>() / number(judged.len()));
    let error = scores["standard_error"].as_f64().unwrap();
    for (digit, row) in scores["confusion"].as_array().unwrap().iter().enumerate() {
        for (called, count) in row.as_array().unwrap().iter().enumerate() {
            let plain = judged
                .iter()
                .filter(|it| (it.0, it.1) == (digit, called))
                .count();
            let off = (count.as_f64().unwrap() - number(plain)).abs();
            assert!(
                off <= FAR * error,
                "{digit} called {called}: {count} ± {error}, not {plain}"
            );
        }
    }
    running.stop();
}

/// Eight hundred records of a line with noise, the same each time; a few lie beyond the bounds.
fn line_with_noise() -> String {
    let mut state = 7_u64;
    let mut uniform = || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        f64::from(u32::try_from(state >> 32).unwrap()) / 4_294_967_296.0
    };
    let mut text = "dose,weight,response\n".to_owned();
    for _ in 0..800 {
        let (dose, weight) = (10.0 * uniform(), 50.0 + 50.0 * uniform());
        let noise = 40.0 * (uniform() + uniform() - 1.0);
        let response = 30.0 + 25.0 * dose - 0.5 * (weight - 75.0) + noise;
        writeln!(text, "{dose:.3},{weight:.2},{response:.2}").unwrap();
    }
    text
}

#[test]
fn a_number_between_public_bounds_is_learnt_and_its_errors_are_told_in_its_unit() {
    let consortium = Consortium::founded_of(5);
    let held_out = deal(&consortium, "responses", &line_with_noise());
    let job = job(
        &consortium,
        "responses",
        &json!({
            "data": {
                "features": [numeric("dose", 5.0, 3.0), numeric("weight", 75.0, 15.0)],
                "target": {"column": "response", "number": {"least": 20, "most": 300}}
            },
            "model": {"layers": [{"dense": {"outputs": 1}}], "loss": "squared_error"},
            "dp_fedsgd": {
                "rounds": 10, "clip": 0.5, "learning_rate": 0.6, "momentum": 0.5, "divisor": 600, "loss_weight": 0.2,
                "max_records_per_member": 1000
            },
            "privacy": {"epsilon": 4.0, "delta": 1e-5}
        }),
    );
    let running = consortium.run(&CLINICS);
    let id = run(&consortium, &job);
    let released = Released::of(&consortium, &id);
    assert_eq!(released.metadata["consort.prediction"], "20 + 280 * output");
    assert_eq!(
        released.manifest["outputs"]["target"]["number"]["most"],
        300.0
    );

    let errors: Vec<(f64, f64)> = held_out
        .iter()
        .map(|line| {
            let fields: Vec<f64> = line
                .split(',')
                .map(|field| field.parse().unwrap())
                .collect();
            let inputs = [(fields[0] - 5.0) / 3.0, (fields[1] - 75.0) / 15.0];
            let predicted = 20.0 + 280.0 * released.outputs(&inputs)[0].clamp(0.0, 1.0);
            let response = fields[2].clamp(20.0, 300.0);
            (predicted - response, response)
        })
        .collect();
    let mean = |read: &dyn Fn(&(f64, f64)) -> f64| {
        errors.iter().map(read).sum::<f64>() / number(errors.len())
    };
    let squared = mean(&|(error, _)| error * error);
    let middle = mean(&|(_, response)| *response);
    let variance = mean(&|(_, response)| (response - middle).powi(2));
    println!(
        "root mean squared error {}, of the mean alone {}",
        squared.sqrt(),
        variance.sqrt()
    );
    assert!(squared < variance / 4.0, "{squared} of {variance}");

    let report = evaluated(&consortium, &job, &id, &released);
    near(&report["records"], number(errors.len()));
    let told = &report["answers"]["numbers"];
    near(&told["mean_squared_error"], squared);
    near(
        &told["mean_absolute_error"],
        mean(&|(error, _)| error.abs()),
    );
    running.stop();
}
