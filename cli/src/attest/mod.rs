//! `consort attest`: looks at evidence offline, and computes what an image's evidence will say.

mod collect;
mod files;
mod table;

#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use consort_attestation::measure::LaunchImage;
use consort_attestation::{ChipId, Evidence, HostData, Measurement, ReportData, Wanted, fields};

use crate::failure::Failure;

/// The end of the year 9999, the last that certificates can name.
const LAST_SECOND: u64 = 253_402_300_799;

/// What can be done with evidence.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// Print every field of a report or of evidence; nothing is judged
    Report {
        #[command(flatten)]
        evidence: EvidenceFile,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Judge evidence; the exit status says the verdict: 0 accepted, 3 refused
    Verify(Judged),
    /// Judge evidence, and print every check: what the evidence says, what was wanted, how it ended
    Explain(Judged),
    /// Have this machine make evidence, as a node does
    Collect(collect::Collect),
    /// Compute the launch digest that an image's reports will show
    Measure(Image),
}

/// Evidence in a file.
#[derive(Args)]
pub(crate) struct EvidenceFile {
    /// Evidence as nodes exchange it, a report of 1184 bytes, or a quote of Intel TDX
    file: PathBuf,
    /// The certificate of the key that signed the report, DER or PEM, where the file is a report alone: a VCEK, or a VLEK
    #[arg(long, value_name = "FILE", visible_alias = "vlek")]
    vcek: Option<PathBuf>,
}

/// Evidence, and what it is judged by.
#[derive(Args)]
pub(crate) struct Judged {
    #[command(flatten)]
    evidence: EvidenceFile,
    /// The attestation policy (TOML). Without one: AMD's and Intel's roots, no debugging, no Milan, no VLEK, an alias check, no TDX platform
    /// that is not up to date; any software
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Folder with the PEM bundles of the roots (ARK, ASK, ASVK), with revocation lists (DER or PEM) and with Intel's collateral (JSON), and
    /// nothing else
    #[arg(long, value_name = "DIR")]
    roots: PathBuf,
    /// The statement the report must be about: 128 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = report_data)]
    report_data: Option<ReportData>,
    /// The chip it must come from: 128 hexadecimal digits; of TDX the platform's PPID, then zeros
    #[arg(long, value_name = "HEX", value_parser = chip_id)]
    chip_id: Option<ChipId>,
    /// The launch configuration it must have: 64 hexadecimal digits; of TDX those with which MRCONFIGID begins, before zeros
    #[arg(long, value_name = "HEX", value_parser = host_data)]
    host_data: Option<HostData>,
    /// The launch digest it must have: 96 hexadecimal digits
    #[arg(long, value_name = "HEX", value_parser = measurement)]
    measurement: Option<Measurement>,
    /// Judge as of this time, in seconds since 1970, instead of now
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(..=LAST_SECOND))]
    at_unix_s: Option<u64>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// What a machine is started with.
#[derive(Args)]
pub(crate) struct Image {
    /// The firmware: an OVMF build for SEV-SNP
    #[arg(long, value_name = "FILE")]
    ovmf: PathBuf,
    /// The kernel, where it is started directly and measured
    #[arg(long, value_name = "FILE")]
    kernel: Option<PathBuf>,
    /// The initial file system
    #[arg(long, value_name = "FILE", requires = "kernel")]
    initrd: Option<PathBuf>,
    /// The kernel's command line
    #[arg(long, value_name = "TEXT", requires = "kernel")]
    append: Option<String>,
    /// How many processors the machine has
    #[arg(long)]
    vcpus: u32,
    /// QEMU's name for them: EPYC-v4, EPYC-Milan, EPYC-Genoa, EPYC-Turin
    #[arg(long)]
    vcpu_type: String,
    /// SEV_FEATURES of the machine, hexadecimal
    #[arg(long, value_name = "HEX", default_value = "1", value_parser = hexadecimal)]
    guest_features: u64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub(crate) fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Report { evidence, json } => report(&evidence, json),
        Command::Verify(judged) => judge(&judged, false),
        Command::Explain(judged) => judge(&judged, true),
        Command::Collect(collect) => collect.run(),
        Command::Measure(image) => measure(image),
    }
}

fn report(file: &EvidenceFile, json: bool) -> Result<(), Failure> {
    let fields = match files::evidence_or_report(&file.file, file.vcek.as_deref())? {
        files::Read::Evidence(bytes) => {
            Evidence::from_bytes(&bytes).and_then(|evidence| fields::of_evidence(&evidence))
        }
        files::Read::Report(report) => fields::of_report(&report),
    };
    let fields = fields.map_err(|reason| {
        if !json {
            return refused(&file.file, reason);
        }
        println!("{}", table::unreadable_json(reason));
        Failure::told()
    })?;
    if json {
        println!("{}", table::fields_json(&fields));
    } else {
        print!("{}", table::fields_text(&fields));
    }
    Ok(())
}

/// One judgement for both commands: they differ in what is printed.
fn judge(judged: &Judged, explain: bool) -> Result<(), Failure> {
    let evidence = files::evidence(&judged.evidence.file, judged.evidence.vcek.as_deref())?;
    let store = files::roots(&judged.roots)?;
    let explainer = files::explainer(judged.policy.as_deref(), &store)?;
    let wanted = Wanted {
        chip_id: judged.chip_id,
        host_data: judged.host_data,
        measurement: judged.measurement,
        report_data: judged.report_data,
    };
    let now = judged.at_unix_s.map_or_else(SystemTime::now, |seconds| {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    });
    let explanation = explainer.explain(&evidence, &wanted, now);
    if judged.json {
        println!("{}", table::explanation_json(&explanation, explain));
    } else {
        print!("{}", table::explanation_text(&explanation, explain));
    }
    match explanation.outcome {
        Ok(_) => Ok(()),
        // With --json the object above is all of standard output, and says why.
        Err(_) if judged.json => Err(Failure::told()),
        Err(reason) => Err(refused(&judged.evidence.file, reason)),
    }
}

fn refused(file: &std::path::Path, reason: consort_attestation::Reason) -> Failure {
    let what = format!("{} is refused: {}", file.display(), reason.meaning());
    Failure::refused(reason.code(), what)
}

fn measure(image: Image) -> Result<(), Failure> {
    let json = image.json;
    let image = LaunchImage {
        firmware: image.ovmf,
        kernel: image.kernel,
        initrd: image.initrd,
        append: image.append,
        vcpus: image.vcpus,
        vcpu_type: image.vcpu_type,
        guest_features: image.guest_features,
    };
    let digest = image.digest().map_err(|error| {
        let source = std::error::Error::source(&error);
        let why = source.map_or(String::new(), |source| format!(": {source}"));
        Failure::usage(error.code(), format!("{error}{why}"))
    })?;
    if json {
        println!(
            "{}",
            serde_json::json!({ "measurement": digest.to_string() })
        );
    } else {
        println!("{digest}");
    }
    Ok(())
}

fn report_data(text: &str) -> Result<ReportData, &'static str> {
    // A chip id is as long: 64 bytes.
    ChipId::from_hex(text)
        .map(|bytes| ReportData::new(*bytes.as_bytes()))
        .ok_or("it must be 128 hexadecimal digits")
}

fn chip_id(text: &str) -> Result<ChipId, &'static str> {
    ChipId::from_hex(text).ok_or("it must be 128 hexadecimal digits")
}

fn host_data(text: &str) -> Result<HostData, &'static str> {
    HostData::from_hex(text).ok_or("it must be 64 hexadecimal digits")
}

fn measurement(text: &str) -> Result<Measurement, &'static str> {
    Measurement::from_hex(text).ok_or("it must be 96 hexadecimal digits")
}

fn hexadecimal(text: &str) -> Result<u64, &'static str> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16).map_err(|_| "it must be a hexadecimal number of 64 bits")
}
