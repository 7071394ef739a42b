//! Jobs that ask, on real processes: what they tell is what the pooled records say, within the noise that they state.

use std::path::Path;

use consort_audit::{Event, Record};
use serde_json::{Value, json};

use crate::consortium::Consortium;

const CLINICS: [&str; 4] = ["clinic-1", "clinic-2", "clinic-3", "clinic-4"];

/// Honest noise is farther off than five of its standard errors once in two million.
const FAR: f64 = 5.0;

/// The records of all clinics as the job's data schema reads them.
struct Pooled {
    /// Column by column, in the order of the features: between the bounds, in the unit of the column.
    columns: Vec<Vec<f64>>,
    labels: Vec<bool>,
}

/// One numeric feature of the job.
struct Feature {
    column: String,
    center: f64,
    scale: f64,
    clip: f64,
}

fn features(job: &Value) -> Vec<Feature> {
    let features = job["data"]["features"].as_array().unwrap();
    let read = |feature: &Value| {
        let numeric = &feature["numeric"];
        let number = |field: &str| numeric[field].as_f64().unwrap();
        Feature {
            column: numeric["column"].as_str().unwrap().to_owned(),
            center: number("center"),
            scale: number("scale"),
            clip: number("clip"),
        }
    };
    features.iter().map(read).collect()
}

fn pool(consortium: &Consortium, job: &Value, file: &str) -> Pooled {
    let features = features(job);
    let target = &job["data"]["target"];
    let mut pooled = Pooled {
        columns: vec![Vec::new(); features.len()],
        labels: Vec::new(),
    };
    for clinic in CLINICS {
        let text = std::fs::read_to_string(consortium.path(clinic).join(file)).unwrap();
        let mut lines = text.lines();
        let header: Vec<_> = lines.next().unwrap().split(',').collect();
        let place = |name: &str| header.iter().position(|column| *column == name).unwrap();
        let places: Vec<_> = features.iter().map(|it| place(&it.column)).collect();
        let label = place(target["column"].as_str().unwrap());
        for line in lines {
            let fields: Vec<f64> = line.split(',').map(|it| it.parse().unwrap()).collect();
            for ((column, place), it) in pooled.columns.iter_mut().zip(&places).zip(&features) {
                let half = it.scale * it.clip;
                column.push(fields[*place].clamp(it.center - half, it.center + half));
            }
            let positive = fields[label] > target["positive_above"].as_f64().unwrap();
            pooled.labels.push(positive);
        }
    }
    pooled
}

fn near(estimate: &Value, expected: f64, resolution: f64) {
    let number = |field: &str| {
        let value = estimate[field].as_f64();
        value.unwrap_or_else(|| panic!("the noise drowns it: {estimate}"))
    };
    let (value, error) = (number("value"), number("standard_error"));
    println!("{value} ± {error} of {expected}");
    assert!(
        (value - expected).abs() <= FAR * error + resolution,
        "{value} ± {error} is far from {expected}"
    );
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap())
}

/// The demo's job, made to ask.
fn asking(consortium: &Consortium, name: &str, kind: &str, asked: Value) -> Value {
    let text = std::fs::read_to_string(consortium.path("job.json")).unwrap();
    let mut job: Value = serde_json::from_str(&text).unwrap();
    let document = job.as_object_mut().unwrap();
    document.remove("dp_fedsgd").unwrap();
    document.insert("name".to_owned(), name.into());
    document.insert(kind.to_owned(), asked);
    if kind == "stats" {
        document.remove("model").unwrap();
    }
    job
}

/// Submits a job and watches it to its end; its report as it was written to a folder.
fn ask(consortium: &Consortium, job: &Value) -> (String, Value) {
    let path = consortium.path("asking.json");
    std::fs::write(&path, job.to_string()).unwrap();
    let submit = ["job", "submit", "--json", "--job", path.to_str().unwrap()];
    let output = crate::consortium::when_it_listens(|| consortium.operate(&submit));
    let submitted: Value = serde_json::from_slice(&output.stdout).unwrap();
    let id = submitted["id"].as_str().unwrap().to_owned();
    let watched = consortium.operate(&["job", "watch", &id]);
    assert!(watched.status.success(), "{watched:?}");
    let out = consortium.path(&format!("report-of-{id}"));
    let report = ["job", "report", &id, "--out", out.to_str().unwrap()];
    let told = consortium.operate(&report);
    assert!(told.status.success(), "{told:?}");
    let told = String::from_utf8(told.stdout).unwrap();
    assert!(told.contains("records") && told.contains('±'), "{told}");
    println!("{told}");
    (id, json_of(&out.join("report.json")))
}

fn json_of(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn statistics_of_four_clinics_are_those_of_their_pooled_records_within_the_stated_noise() {
    let consortium = Consortium::founded();
    let column = "mean_radius";
    let template = asking(&consortium, "asks", "stats", Value::Null);
    let target = template["data"]["target"]["column"].as_str().unwrap();
    let queries = json!([
        {"mean": {"column": column}},
        {"variance": {"column": column}},
        {"histogram": {"column": column, "bins": 8}},
        {"quantiles": {"column": column, "bins": 12, "at": [0.5]}},
        {"categories": {"column": target}}
    ]);
    let asked = json!({"queries": queries, "max_records_per_member": 1000});
    let job = asking(&consortium, "asks", "stats", asked);
    let running = consortium.run(&CLINICS);
    let (id, report) = ask(&consortium, &job);

    let pooled = pool(&consortium, &job, "train.csv");
    let features = features(&job);
    let place = features.iter().position(|it| it.column == column).unwrap();
    let values = &pooled.columns[place];
    let records = number(values.len());
    near(&report["records"], records, 0.0);
    assert!(report["epsilon"].as_f64().unwrap() <= 1.0);
    let answers = report["answers"]["stats"].as_array().unwrap();
    let mean = values.iter().sum::<f64>() / records;
    near(&answers[0]["mean"]["mean"], mean, 0.0);
    near(&answers[1]["variance"]["mean"], mean, 0.0);
    let squares = values.iter().map(|value| (value - mean).powi(2));
    near(
        &answers[1]["variance"]["variance"],
        squares.sum::<f64>() / records,
        0.0,
    );
    let histogram = &answers[2]["histogram"];
    let edges: Vec<f64> = serde_json::from_value(histogram["edges"].clone()).unwrap();
    let counts: Vec<f64> = serde_json::from_value(histogram["counts"].clone()).unwrap();
    let error = histogram["standard_error"].as_f64().unwrap();
    for (bin, count) in counts.iter().enumerate() {
        let last = bin + 1 == counts.len();
        let inside = |value: &&f64| **value >= edges[bin] && (last || **value < edges[bin + 1]);
        let plain = number(values.iter().filter(inside).count());
        assert!(
            (count - plain).abs() < FAR * error,
            "bin {bin}: {count} ± {error}, not {plain}"
        );
    }
    let quantiles = &answers[3]["quantiles"];
    let mut sorted = values.clone();
    sorted.sort_by(f64::total_cmp);
    let width = quantiles["bin_width"].as_f64().unwrap();
    near(
        &quantiles["quantiles"][0]["estimate"],
        sorted[sorted.len() / 2],
        width,
    );
    let categories = &answers[4]["categories"];
    let positives = number(pooled.labels.iter().filter(|positive| **positive).count());
    let told = categories["counts"][1].as_f64().unwrap();
    let error = categories["standard_error"].as_f64().unwrap();
    assert!(
        (told - positives).abs() < FAR * error,
        "{told} ± {error}, not {positives}"
    );

    // A report is released like a model, and is none.
    let manifest = json_of(&consortium.path(&format!("report-of-{id}/manifest.json")));
    let hash = manifest["manifest"]["model_sha256"]
        .as_str()
        .unwrap()
        .to_owned();
    consortium.until("the report was released", |records| {
        let released = |record: &Record| {
            matches!(&record.event, Event::ModelReleased { model, .. } if model.to_string() == hash)
        };
        records.iter().any(released).then_some(())
    });
    let no_model = consortium.operate(&["model", "download", &id]);
    assert_eq!(no_model.status.code(), Some(2), "{no_model:?}");
    let no_report = consortium.operate(&["job", "report", "job-1"]);
    assert_eq!(no_report.status.code(), Some(2), "{no_report:?}");
    running.stop();
    let audit = consortium.path("coordinator/state/audit");
    let verified = crate::program::run(&["audit", "verify", audit.to_str().unwrap()]);
    assert!(verified.status.success(), "{verified:?}");
}

#[test]
fn an_evaluation_on_held_out_records_is_that_of_the_pooled_ones_within_the_stated_noise() {
    let consortium = Consortium::founded();
    let template = asking(&consortium, "evaluates", "evaluate", Value::Null);
    let dataset = template["dataset"].as_str().unwrap().to_owned();
    for clinic in CLINICS {
        consortium.edit(&format!("{clinic}/config.toml"), |text| {
            format!("{text}\n[datasets.held-out]\npath = \"held_out.csv\"\n")
        });
        consortium.edit(&format!("{clinic}/consent.toml"), |text| {
            text.replace(
                &format!("\"{dataset}\""),
                &format!("\"{dataset}\", \"held-out\""),
            )
            .replace("max_epsilon_per_job = 1.0", "max_epsilon_per_job = 8.0")
        });
    }
    let running = consortium.run(&CLINICS);
    let out = consortium.path("released");
    let download = ["model", "download", "job-1", "--out", out.to_str().unwrap()];
    crate::consortium::when_it_listens(|| consortium.operate(&download));
    let file = std::fs::read(out.join("model.safetensors")).unwrap();
    let (header, data) = safetensors(&file);
    let parameters = header["__metadata__"]["consort.parameters"]
        .as_str()
        .unwrap();

    let asked = json!({
        "model_of": "job-1", "parameters": parameters, "threshold": 0.5, "bins": 10, "max_records_per_member": 1000
    });
    let mut job = asking(&consortium, "evaluates", "evaluate", asked);
    job["dataset"] = "held-out".into();
    // A hundred records: at epsilon 1 the noise drowns every quotient, and at 4 one run in fourteen the area under the curve.
    job["privacy"]["epsilon"] = 8.0.into();
    let (_, report) = ask(&consortium, &job);
    assert_eq!(report["parameters"].as_str().unwrap(), parameters);

    let pooled = pool(&consortium, &job, "held_out.csv");
    let features = features(&job);
    let tensor = |name: &str| -> Vec<f64> {
        let range = &header[name]["data_offsets"];
        let at = |place: usize| usize::try_from(range[place].as_u64().unwrap()).unwrap();
        let (words, _) = data[at(0)..at(1)].as_chunks::<4>();
        words
            .iter()
            .map(|word| f32::from_le_bytes(*word).into())
            .collect()
    };
    let (weights, bias) = (tensor("layer.0.weight"), tensor("layer.0.bias")[0]);
    let logit = |record: usize| {
        let inputs = features.iter().zip(&pooled.columns);
        let inputs = inputs.map(|(it, column)| (column[record] - it.center) / it.scale);
        bias + inputs
            .zip(&weights)
            .map(|(input, weight)| input * weight)
            .sum::<f64>()
    };
    let scored: Vec<(f64, bool)> = (0..pooled.labels.len())
        .map(|record| (logit(record), pooled.labels[record]))
        .collect();
    let scores = &report["answers"]["evaluate"];
    let count = |called: bool, is: bool| {
        let fits = |record: &&(f64, bool)| (record.0 >= 0.0) == called && record.1 == is;
        number(scored.iter().filter(fits).count())
    };
    near(&report["records"], number(scored.len()), 0.0);
    near(&scores["true_positives"], count(true, true), 0.0);
    near(&scores["false_positives"], count(true, false), 0.0);
    near(&scores["false_negatives"], count(false, true), 0.0);
    near(&scores["true_negatives"], count(false, false), 0.0);
    let right = count(true, true) + count(false, false);
    near(&scores["accuracy"], right / number(scored.len()), 0.0);
    let (mut higher, mut pairs, mut tied) = (0.0, 0.0, 0.0);
    let bin = |logit: f64| (10.0 / (1.0 + (-logit).exp())).floor();
    for (positive, _) in scored.iter().filter(|record| record.1) {
        for (negative, _) in scored.iter().filter(|record| !record.1) {
            pairs += 1.0;
            higher += f64::from(u8::from(positive > negative));
            tied += f64::from(u8::from(bin(*positive) == bin(*negative)));
        }
    }
    // Binning moves the area by at most half of the pairs in one bin.
    near(
        &scores["area_under_curve"],
        higher / pairs,
        tied / pairs / 2.0,
    );
    let loss = |(logit, is): &(f64, bool)| {
        let label = f64::from(u8::from(*is));
        (logit.max(0.0) - label * logit + (-logit.abs()).exp().ln_1p()).min(2.0)
    };
    let loss = scored.iter().map(loss).sum::<f64>() / number(scored.len());
    near(&scores["loss"], loss, 1e-3);

    // Other parameters than the job released are not even proposed.
    job["evaluate"]["parameters"] = "00".repeat(32).into();
    let path = consortium.path("asking.json");
    std::fs::write(&path, job.to_string()).unwrap();
    let refused = consortium.operate(&["job", "submit", "--json", "--job", path.to_str().unwrap()]);
    let said = String::from_utf8(refused.stdout).unwrap();
    assert!(
        !refused.status.success() && said.contains("evaluate_model_unknown"),
        "{said}"
    );
    running.stop();
}

/// The header of a safetensors file, and its data.
fn safetensors(file: &[u8]) -> (Value, &[u8]) {
    let (length, rest) = file.split_first_chunk::<8>().unwrap();
    let length = usize::try_from(u64::from_le_bytes(*length)).unwrap();
    let (header, data) = rest.split_at(length);
    (serde_json::from_slice(header).unwrap(), data)
}
