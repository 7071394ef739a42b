//! `consort job report`: fetches what a job that asked was answered, checks that its manifest is about it, and shows it.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use consort_aggregation::Digest;
use consort_contract::Report;
use consort_contract::query::{
    Answer, ClassScores, ColumnAnswer, CountErrors, Estimate, NumberErrors, Scores,
};
use consort_coordinator::manifest::SignedManifest;

use crate::client::Access;
use crate::failure::{Failure, at};
use crate::job::shown;
use crate::model::{MANIFEST_FILE, fetch};
use crate::view::releases_report;

/// Name of the report's file.
pub(crate) const REPORT_FILE: &str = "report.json";

/// Whose report.
#[derive(Args)]
pub(crate) struct Asked {
    #[command(flatten)]
    access: Access,
    /// The job's id
    id: String,
    /// Folder to write report.json and the signed manifest.json to
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Print the report as it was released, one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) async fn run(asked: Asked) -> Result<(), Failure> {
    let mut operators = asked.access.connect().await?;
    if !releases_report(&shown(&mut operators, &asked.id).await?) {
        let what = format!(
            "job {0} trains and releases no report; fetch its model with `consort model download {0}`",
            asked.id
        );
        return Err(Failure::usage("job_without_report", what));
    }
    let fetched = fetch(&mut operators, &asked.id).await?;
    let unfit = |what: String| Failure::failed("report_unfit", what);
    let signed: SignedManifest = serde_json::from_slice(&fetched.manifest)
        .map_err(|error| unfit(format!("the manifest cannot be read: {error}")))?;
    if signed.manifest.model_sha256 != Digest::of(&fetched.model).to_string() {
        let what = "the report is not the one that its manifest names; fetch it again";
        return Err(unfit(what.to_owned()));
    }
    let report = Report::from_json(&fetched.model).map_err(|error| unfit(error.to_string()))?;
    if let Some(folder) = &asked.out {
        std::fs::create_dir_all(folder).map_err(at(folder))?;
        for (name, bytes) in [
            (REPORT_FILE, &fetched.model),
            (MANIFEST_FILE, &fetched.manifest),
        ] {
            let path = folder.join(name);
            std::fs::write(&path, bytes).map_err(at(&path))?;
        }
    }
    if asked.json {
        print!("{}", String::from_utf8_lossy(&fetched.model));
    } else {
        print!("{}", told(&report));
    }
    Ok(())
}

/// The report for people: each estimate with the standard error of its noise.
fn told(report: &Report) -> String {
    let mut text = format!(
        "{} of {} members, data set {}: epsilon {:.4} at delta {}\n\
         each number ± the standard error of its noise alone\n\n{:<28} {}\n",
        report.job,
        report.members,
        report.dataset,
        report.epsilon,
        report.delta,
        "records",
        number(&report.records)
    );
    match &report.answers {
        Answer::Stats(answers) => answers.iter().for_each(|answer| column(&mut text, answer)),
        Answer::Evaluate(scores) => evaluation(&mut text, scores),
        Answer::Classes(scores) => classes(&mut text, scores),
        Answer::Numbers(errors) => numbers(&mut text, errors),
        Answer::Counts(errors) => counts(&mut text, errors),
    }
    text
}

fn column(text: &mut String, answer: &ColumnAnswer) {
    match answer {
        ColumnAnswer::Mean { column, mean } => line(text, &format!("mean {column}"), mean),
        ColumnAnswer::Variance {
            column,
            mean,
            variance,
        } => {
            line(text, &format!("mean {column}"), mean);
            line(text, &format!("variance {column}"), variance);
        }
        ColumnAnswer::Histogram {
            column,
            edges,
            counts,
            standard_error,
        } => {
            for (edge, count) in edges.windows(2).zip(counts) {
                let name = format!("{column} {:.4} to {:.4}", edge[0], edge[1]);
                line(text, &name, &counted(*count, *standard_error));
            }
        }
        ColumnAnswer::Quantiles {
            column,
            bin_width,
            quantiles,
        } => {
            for quantile in quantiles {
                let name = format!("{column} quantile {}", quantile.at);
                line(text, &name, &quantile.estimate);
            }
            let name = format!("{column} bin width");
            // Writing to a String does not fail.
            let _ = writeln!(text, "{name:<28} {bin_width:.4}");
        }
        ColumnAnswer::Categories {
            column,
            levels,
            counts,
            standard_error,
        } => {
            for (level, count) in levels.iter().zip(counts) {
                let name = format!("{column} {level}");
                line(text, &name, &counted(*count, *standard_error));
            }
        }
    }
}

fn evaluation(text: &mut String, scores: &Scores) {
    for (name, estimate) in [
        ("true positives", &scores.true_positives),
        ("false positives", &scores.false_positives),
        ("false negatives", &scores.false_negatives),
        ("true negatives", &scores.true_negatives),
        ("accuracy", &scores.accuracy),
        ("sensitivity", &scores.sensitivity),
        ("specificity", &scores.specificity),
        ("precision", &scores.precision),
        ("area under the curve", &scores.area_under_curve),
        ("loss, nats", &scores.loss),
    ] {
        line(text, name, estimate);
    }
    for bin in &scores.calibration {
        let name = format!("positive of {:.2} to {:.2}", bin.from, bin.to);
        line(text, &name, &bin.positive_share);
    }
}

fn classes(text: &mut String, scores: &ClassScores) {
    line(text, "accuracy", &scores.accuracy);
    line(text, "loss, nats", &scores.loss);
    for score in &scores.classes {
        let class = &score.class;
        line(text, &format!("{class}: records"), &score.records);
        line(text, &format!("{class}: sensitivity"), &score.sensitivity);
        if let Some(precision) = &score.precision {
            line(text, &format!("{class}: precision"), precision);
        }
    }
    if let Some(rows) = &scores.confusion {
        // Writing to a String does not fail.
        let _ = writeln!(
            text,
            "\nrecords by class (down) and called class (across), each ± {:.1}",
            scores.standard_error
        );
        let width = |score: &consort_contract::query::ClassScore| score.class.chars().count();
        let width = scores.classes.iter().map(width).fold(7, usize::max) + 1;
        let mut table = |name: &str, cells: &mut dyn Iterator<Item = String>| {
            let cells: String = cells.map(|cell| format!("{cell:>width$}")).collect();
            let _ = writeln!(text, "{name:<width$}{cells}");
        };
        let mut names = scores.classes.iter().map(|score| score.class.clone());
        table("", &mut names);
        for (score, row) in scores.classes.iter().zip(rows) {
            let mut cells = row.iter().map(|count| format!("{count:.1}"));
            table(&score.class, &mut cells);
        }
    }
}

fn numbers(text: &mut String, errors: &NumberErrors) {
    line(text, "mean squared error", &errors.mean_squared_error);
    line(text, "its root", &errors.root_mean_squared_error);
    line(text, "mean absolute error", &errors.mean_absolute_error);
}

fn counts(text: &mut String, errors: &CountErrors) {
    line(text, "mean deviance", &errors.mean_deviance);
    line(text, "mean absolute error", &errors.mean_absolute_error);
}

fn counted(count: f64, standard_error: f64) -> Estimate {
    Estimate {
        value: Some(count),
        standard_error: Some(standard_error),
    }
}

fn line(text: &mut String, name: &str, estimate: &Estimate) {
    // Writing to a String does not fail.
    let _ = writeln!(text, "{name:<28} {}", number(estimate));
}

fn number(estimate: &Estimate) -> String {
    match estimate.value.zip(estimate.standard_error) {
        Some((value, error)) => format!("{value:.4} ± {error:.4}"),
        None => "drowned by the noise: too few records for this epsilon".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_estimate_that_noise_drowns_is_told_as_none() {
        let mut text = String::new();
        column(
            &mut text,
            &ColumnAnswer::Categories {
                column: "pain".to_owned(),
                levels: vec!["none".to_owned()],
                counts: vec![12.34567],
                standard_error: 1.5,
            },
        );
        let unknown = Estimate {
            value: None,
            standard_error: None,
        };
        line(&mut text, "mean age", &unknown);
        assert!(text.contains("pain none") && text.contains("12.3457 ± 1.5000"));
        assert!(text.contains("drowned"), "{text}");
    }
}
