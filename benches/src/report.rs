//! The outcomes as tables and as JSON.

use crate::case::{Outcome, count};
use serde_json::json;
use std::fmt::Write;

/// One case as a table: CPU time, and the same for each parameter where that says something.
pub(crate) fn table(outcome: &Outcome) -> String {
    let Outcome {
        case,
        setup,
        client,
        server,
        ..
    } = outcome;
    let mut text = format!(
        "\nn = {}, d = {}, degree {}, threshold {}, {} bits, {:.3} bytes/param on the wire\n",
        case.n, case.d, case.degree, case.threshold, outcome.width, outcome.wire_bytes_per_param
    );
    let per_param = |seconds: f64| format!("{:.3} ns/param", seconds * 1e9 / count(case.d));
    let mut row = |what: &str, seconds: f64, note: String| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "  {what:<34} {:>11.3} ms  {note}", seconds * 1e3);
    };
    row("client set-up", setup.total_cpu_s, String::new());
    row("  keys", setup.keys.cpu_s, String::new());
    row("  deal", setup.deal.cpu_s, String::new());
    row("  seal", setup.seal.cpu_s, String::new());
    row("  open and verify", setup.verify.cpu_s, String::new());
    let extra = format!("{} beyond the integers", mib(client.extra_bytes));
    row("client total", client.total_cpu_s, extra);
    row("  agree", client.agree_cpu_s, String::new());
    row(
        "  encode",
        client.encode_cpu_s,
        per_param(client.encode_cpu_s),
    );
    let mask = format!(
        "{:.3} ns/param/mask without packing and hash",
        client.mask_ns_per_param_per_mask
    );
    row("  mask, pack, hash", client.mask_cpu_s, mask);
    row(
        "    pack alone",
        client.pack_cpu_s,
        per_param(client.pack_cpu_s),
    );
    row(
        "    hash alone",
        client.hash_cpu_s,
        per_param(client.hash_cpu_s),
    );
    let seconds = |ns: f64| ns * count(case.d) / 1e9;
    let ingest = format!(
        "{:.3} ns/param, at least {:.3}, {:.3} more to copy chunks, {} extra",
        server.ingest_ns_per_param,
        server.ingest_least_ns_per_param,
        server.copy_ns_per_param,
        mib(server.ingest_extra_bytes)
    );
    row(
        "server ingest, one member",
        seconds(server.ingest_ns_per_param),
        ingest,
    );
    let hash = format!("{:.3} ns/param", server.hash_ns_per_param);
    row(
        "server hash, one member",
        seconds(server.hash_ns_per_param),
        hash,
    );
    let cost = |cost: &crate::meter::Cost| {
        format!(
            "peak {}, {} extra",
            mib(cost.peak_bytes),
            mib(cost.extra_bytes)
        )
    };
    row(
        "server unmask, none dropped",
        server.unmask_all.cpu_s,
        cost(&server.unmask_all),
    );
    if let Some(dropped) = &server.unmask_dropped {
        let what = format!("server unmask, {} dropped", case.dropped);
        row(&what, dropped.cpu_s, cost(dropped));
    }
    text
}

/// All cases as one JSON object, with the processor they ran on.
pub(crate) fn json(outcomes: &[Outcome]) -> anyhow::Result<String> {
    let processor = std::fs::read_to_string("/proc/cpuinfo")
        .ok()
        .and_then(|info| {
            let line = info.lines().find(|line| line.starts_with("model name"))?;
            line.split_once(": ").map(|(_, model)| model.to_owned())
        });
    let report = json!({ "processor": processor, "cases": outcomes });
    Ok(serde_json::to_string_pretty(&report)?)
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", count(bytes) / (1024.0 * 1024.0))
}
