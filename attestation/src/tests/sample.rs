//! The documented sample: it parses, it is complete, and its values are the defaults.

use crate::Policy;

const SAMPLE: &str = include_str!("../../policy.sample.toml");

/// The fields that a policy must spell out, as the sample does.
fn required_alone() -> String {
    let lines = SAMPLE.lines().collect::<Vec<_>>().join("\n");
    let list = |name: &str| {
        let at = lines.find(&format!("\n{name} = [")).unwrap();
        let end = lines[at..].find(']').unwrap();
        lines[at..=at + end].to_owned()
    };
    let tables = lines.split("[snp.min_tcb.genoa]").nth(1).unwrap();
    let tables = tables.split("# The least version").next().unwrap();
    format!(
        "[trust]\n{}\ncrl = \"required\"\n[snp]\n{}\n{}\n[snp.min_tcb.genoa]{tables}\n[tdx]\n{}\n{}",
        list("roots"),
        list("report_versions"),
        list("measurements"),
        list("quote_versions"),
        list("mr_td"),
    )
}

#[test]
fn a_policy_that_leaves_the_optional_fields_out_is_the_sample() {
    let sample = Policy::from_toml(SAMPLE).unwrap();
    assert_eq!(Policy::from_toml(&required_alone()).unwrap(), sample);
}

/// The parser itself names the fields it knows when it meets one it does not.
#[test]
fn every_field_of_the_schema_stands_in_the_sample() {
    let mut total = 0;
    for (table, text) in [
        ("trust", "[trust]\nx = 1\n[snp]\n"),
        ("snp", "[trust]\n[snp]\nx = 1\n"),
        ("tdx", "[trust]\n[tdx]\nx = 1\n"),
        ("session", "[trust]\n[snp]\n[session]\nx = 1\n"),
        ("min_tcb", "[trust]\n[snp]\n[snp.min_tcb.turin]\nx = 1\n"),
    ] {
        let message = Policy::from_toml(text).unwrap_err().to_string();
        let fields = message.split("expected one of ").nth(1).unwrap();
        for field in fields.lines().next().unwrap().split(", ") {
            let field = field.trim_matches('`');
            let stands = SAMPLE.lines().any(|line| {
                let line = line.trim_start_matches("# ");
                line.starts_with(&format!("{field} = "))
                    || line.starts_with(&format!("[snp.{field}"))
            });
            assert!(stands, "{table}.{field} is not in the sample");
            total += 1;
        }
    }
    assert_eq!(total, 60, "fields were found in the parser's messages");
}

#[test]
fn the_sample_with_every_line_in_force_reads() {
    let whole: String = SAMPLE
        .lines()
        .map(|line| match line.strip_prefix("# ") {
            Some(rest) if rest.contains(" = ") && !rest.contains(": ") => format!("{rest}\n"),
            Some(_) | None => format!("{line}\n"),
        })
        .collect();
    let policy = Policy::from_toml(&whole).unwrap();
    assert!(policy.snp.host_data.is_some() && policy.snp.author_key_digests.is_some());
    assert!(policy.snp.family_id.is_some() && policy.snp.image_id.is_some());
    assert_eq!(policy.snp.min_firmware.len(), 1);
    assert!(policy.tdx.mr_seam.is_some() && policy.tdx.mr_owner_configs.is_some());
    assert!(policy.tdx.rtmr.iter().all(Option::is_some));
}
