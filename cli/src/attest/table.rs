//! Fields and findings as people and programs read them.

use std::fmt::Write as _;

use consort_attestation::fields::Field;
use consort_attestation::{Explanation, Finding, Reason, Verdict};
use serde_json::{Value, json};

/// Values longer than this are cut in text, where a table is read by eye. JSON has all of them.
const SHOWN: usize = 72;

pub(super) fn fields_text(fields: &[Field]) -> String {
    let mut text = String::new();
    for field in fields {
        let offset = field
            .offset
            .map_or("    -".to_owned(), |offset| format!("{offset:#05x}"));
        let meaning = if field.meaning.is_empty() {
            String::new()
        } else {
            format!("  ({})", field.meaning)
        };
        // Writing to a string does not fail.
        let _ = writeln!(
            text,
            "{offset}  {:<28}  {}{meaning}",
            field.name, field.value
        );
    }
    text
}

pub(super) fn fields_json(fields: &[Field]) -> Value {
    let fields: Vec<_> = fields
        .iter()
        .map(|field| {
            json!({
                "name": field.name,
                "offset": field.offset,
                "value": field.value,
                "meaning": field.meaning,
            })
        })
        .collect();
    json!({ "fields": fields })
}

/// What is not shown field by field, and why.
pub(super) fn unreadable_json(reason: Reason) -> Value {
    json!({
        "verdict": "refused",
        "reason": reason.code(),
        "meaning": reason.meaning(),
        "source": reason.source(),
    })
}

/// The verdict with what decided it; every check where they are asked for.
pub(super) fn explanation_text(explanation: &Explanation, every: bool) -> String {
    let mut text = String::new();
    let first = first_failure(explanation);
    let mut above = None;
    for finding in &explanation.findings {
        if every || finding.verdict == Verdict::Failed {
            line(&mut text, finding, first, above);
            above = Some(finding);
        }
    }
    let count = |verdict| {
        let found = explanation
            .findings
            .iter()
            .filter(|it| it.verdict == verdict);
        found.count()
    };
    let verdict = match &explanation.outcome {
        Ok(unrefused) if unrefused.simulated => {
            "ACCEPTED, and SIMULATED: no hardware vouches for it".to_owned()
        }
        Ok(_) => "ACCEPTED".to_owned(),
        Err(reason) => format!("REFUSED: {} [{}]", reason.meaning(), reason.code()),
    };
    let _ = writeln!(
        text,
        "{verdict}\n{} checks passed, {} failed, {} not judged, {} not reached",
        count(Verdict::Passed),
        count(Verdict::Failed),
        count(Verdict::NotJudged),
        count(Verdict::NotReached),
    );
    if !every && count(Verdict::NotJudged) > 0 {
        let unjudged = explanation.findings.iter();
        let unjudged = unjudged.filter(|it| it.verdict == Verdict::NotJudged);
        let codes: Vec<_> = unjudged.map(|it| it.check.code()).collect();
        let _ = writeln!(text, "not judged: {}", codes.join(", "));
    }
    text
}

/// One check, with a mark where it decided, or where it says what the one above it does: a parser tells the same of each of its
/// checks.
fn line(text: &mut String, finding: &Finding, first: Option<&Finding>, above: Option<&Finding>) {
    let decided = first.is_some_and(|first| std::ptr::eq(first, finding));
    let repeated = !finding.says.is_empty()
        && above.is_some_and(|it| {
            (&it.says, &it.wanted, it.verdict) == (&finding.says, &finding.wanted, finding.verdict)
        });
    let mark = match (decided, repeated) {
        (true, _) => "<- decides",
        (false, true) => "as above",
        (false, false) => "",
    };
    let (code, verdict) = (finding.check.code(), finding.verdict.name());
    let _ = writeln!(text, "{code:<32} {verdict:<11} {mark}");
    if finding.verdict == Verdict::NotReached || repeated {
        return;
    }
    for (name, value) in [("says", &finding.says), ("wanted", &finding.wanted)] {
        if !value.is_empty() {
            let _ = writeln!(text, "    {name:<7} {}", cut(value));
        }
    }
    if finding.verdict == Verdict::Failed {
        let (meaning, source) = (finding.check.meaning(), finding.check.source());
        let _ = writeln!(text, "    reason  {meaning} ({source})");
    }
}

fn first_failure(explanation: &Explanation) -> Option<&Finding> {
    let mut findings = explanation.findings.iter();
    findings.find(|finding| finding.verdict == Verdict::Failed)
}

fn cut(value: &str) -> String {
    if value.chars().count() <= SHOWN {
        return value.to_owned();
    }
    let head: String = value.chars().take(SHOWN).collect();
    format!("{head}...")
}

pub(super) fn explanation_json(explanation: &Explanation, every: bool) -> Value {
    let first = first_failure(explanation);
    let findings: Vec<_> = explanation
        .findings
        .iter()
        .filter(|finding| every || finding.verdict == Verdict::Failed)
        .map(|finding| {
            json!({
                "check": finding.check.code(),
                "verdict": finding.verdict.name().to_lowercase(),
                "says": finding.says,
                "wanted": finding.wanted,
                "meaning": finding.check.meaning(),
                "source": finding.check.source(),
                "decides": first.is_some_and(|first| std::ptr::eq(first, finding)),
            })
        })
        .collect();
    let unjudged: Vec<_> = explanation
        .findings
        .iter()
        .filter(|finding| finding.verdict == Verdict::NotJudged)
        .map(|finding| finding.check.code())
        .collect();
    json!({
        "verdict": if explanation.outcome.is_ok() { "accepted" } else { "refused" },
        "reason": explanation.outcome.as_ref().err().map(|reason| reason.code()),
        "simulated": explanation.outcome.ok().map(|unrefused| unrefused.simulated),
        "not_judged": unjudged,
        "checks": findings,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(check: Reason, says: &str, verdict: Verdict) -> Finding {
        Finding {
            check,
            says: says.to_owned(),
            wanted: String::new(),
            verdict,
        }
    }

    #[test]
    fn what_a_parser_says_of_each_of_its_checks_stands_once() {
        let explanation = Explanation {
            outcome: Err(Reason::Vmpl),
            findings: vec![
                finding(Reason::EvidenceSize, "2 bytes", Verdict::Passed),
                finding(Reason::EvidenceEncoding, "2 bytes", Verdict::Passed),
                finding(Reason::Vmpl, "2 bytes", Verdict::Failed),
                finding(Reason::GuestDebug, "", Verdict::NotReached),
                finding(Reason::GuestCxl, "", Verdict::NotReached),
            ],
        };
        let text = explanation_text(&explanation, true);
        assert_eq!(text.matches("2 bytes").count(), 2, "{text}");
        assert_eq!(text.matches("as above").count(), 1, "{text}");
        assert_eq!(text.matches("<- decides").count(), 1, "{text}");
        assert_eq!(text.matches("attest.").count(), 6, "{text}");
    }
}
