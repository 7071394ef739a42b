//! The log as it grows. Whoever follows it is a witness meanwhile: a log that is cut or rewritten ends the command.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use consort_audit::{Record, Tail};

use super::broken;
use super::trust::Trust;
use crate::failure::Failure;

/// Between two looks at the checkpoint: as often as a person notices.
const PAUSE: Duration = Duration::from_millis(250);

/// What is to be shown.
#[derive(Args)]
pub(crate) struct Follow {
    /// The log's folder
    dir: PathBuf,
    /// So many of the newest entries first
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on with each new entry, until interrupted
    #[arg(long, short)]
    follow: bool,
    /// Print a JSON object for each entry, on a line of its own: "index" and "record"
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    trust: Trust,
}

/// Shows the newest entries, and new ones as they come.
pub(super) fn tail(asked: &Follow) -> Result<(), Failure> {
    let key = asked.trust.load()?.key;
    let failed = |error| broken(&asked.dir, &error);
    let mut tail = Tail::open(&asked.dir, key.as_ref()).map_err(failed)?;
    let mut records = tail.news().map_err(failed)?;
    records.drain(..records.len().saturating_sub(asked.lines));
    let mut out = io::stdout().lock();
    loop {
        let shown = records
            .iter()
            .try_for_each(|(index, record)| writeln!(out, "{}", line(*index, record, asked.json)));
        // Whoever read this has gone.
        if shown.and_then(|()| out.flush()).is_err() || !asked.follow {
            return Ok(());
        }
        std::thread::sleep(PAUSE);
        records = tail.news().map_err(failed)?;
    }
}

fn line(index: u64, record: &Record, json: bool) -> String {
    // A record that was read has a line.
    let record: serde_json::Value = record
        .to_line()
        .ok()
        .and_then(|line| serde_json::from_str(&line).ok())
        .unwrap_or_default();
    if json {
        return serde_json::json!({ "index": index, "record": record }).to_string();
    }
    let job = record["job"].as_str().unwrap_or("-");
    let round = &record["round"];
    let round = match (round["number"].as_u64(), round["attempt"].as_u64()) {
        (Some(round), Some(attempt)) => format!("{round}.{attempt}"),
        (_, _) => "-".to_owned(),
    };
    let time = &record["time_unix_ms"];
    let event = record["event"].to_string();
    format!("{index:>6}  {time}  {job} {round}  {event}")
}

#[cfg(test)]
mod tests {
    use consort_audit::{Event, Fact};

    use super::*;

    #[test]
    fn a_line_names_the_entry_its_time_and_its_event() {
        let build = consort_audit::Text::new("consort").unwrap();
        let dangerous = Vec::new();
        let record = Fact::of_consortium(Event::Started { build, dangerous }).at(1_234);
        let text = line(7, &record, false);
        assert!(
            text.starts_with("     7  1234  - -  {\"started\""),
            "{text}"
        );
        let json: serde_json::Value = serde_json::from_str(&line(7, &record, true)).unwrap();
        assert_eq!(json["index"], 7);
        assert_eq!(json["record"]["event"]["started"]["build"], "consort");
    }
}
