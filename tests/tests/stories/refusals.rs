//! Somebody says no: to evidence, to data, to a job. It is said by name, and the others go on.

use consort_audit::Event;

use crate::consortium::Consortium;

#[test]
fn a_member_whose_evidence_does_not_verify_is_refused_by_name_and_the_others_go_on() {
    let consortium = Consortium::founded();
    consortium.spoil_measurement("clinic-4");
    consortium.edit("job.json", |text| text.replace(",\n    \"clinic-4\"", ""));
    let running = consortium.run(&["clinic-1", "clinic-2", "clinic-3", "clinic-4"]);
    let (status, said) = running.submit_and_watch();
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("completed"), "{said}");
    running.stop();
    let mut refused = Vec::new();
    for record in consortium.audit() {
        if let Event::EvidenceVerdict {
            organisation,
            accepted: false,
            code,
            ..
        } = record.event
        {
            refused.push((organisation.to_string(), code.to_string()));
        }
    }
    assert!(!refused.is_empty());
    for (organisation, code) in refused {
        assert_eq!(organisation, "clinic-4");
        assert!(code.contains("measurement"), "{code}");
    }
}

#[test]
fn a_data_file_with_a_bad_row_fails_the_job_naming_the_member_the_line_and_the_column() {
    let consortium = Consortium::founded();
    consortium.edit("clinic-2/train.csv", |text| {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        let (_, rest) = lines[4].split_once(',').unwrap();
        lines[4] = format!("much,{rest}");
        lines.join("\n")
    });
    let running = consortium.run(&["clinic-1", "clinic-2", "clinic-3", "clinic-4"]);
    let (status, said) = running.submit_and_watch();
    assert_eq!(status, Some(3), "{said}");
    for part in ["clinic-2", "line 5", "mean_radius", "vote_refused"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    assert!(
        !said.contains("much"),
        "no value of a record is told: {said}"
    );
}

#[test]
fn a_job_that_cannot_be_is_refused_before_anybody_is_asked() {
    let consortium = Consortium::founded();
    for (from, to, code, says) in [
        ("\"name\"", "\"nmae\"", "config_invalid", "nmae"),
        (
            "\"epsilon\": 1.0",
            "\"epsilon\": 0.0",
            "job_number_out_of_range",
            "privacy.epsilon",
        ),
        ("\"outputs\": 1", "\"outputs\": 2", "", "output"),
        (
            "\"clinic-2\",\n    \"clinic-3\",\n    \"clinic-4\"",
            "\"clinic-2\"",
            "cohort_size",
            "3 to",
        ),
    ] {
        let (status, said) = consortium.submit_edited(|text| text.replacen(from, to, 1));
        assert_eq!(status, Some(2), "{to}: {said}");
        assert!(said.contains(says) && said.contains(code), "{to}: {said}");
    }
}

#[test]
fn a_policy_that_nobody_signed_is_refused_by_the_daemon_that_reads_it() {
    let consortium = Consortium::founded();
    consortium.edit("manifest.json", |text| {
        text.replace("report_versions = [3, 5]", "report_versions = [2, 3, 5]")
    });
    let (status, said) = consortium.serve("coordinator").ended();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("manifest.json") && said.contains("manifest of version 1 is another"),
        "{said}"
    );
    // Where nothing was in force before, the signatures say so.
    std::fs::remove_dir_all(consortium.path("clinic-1/state/manifests")).unwrap();
    let (status, said) = consortium.serve("clinic-1").ended();
    assert_eq!(status, Some(1), "{said}");
    assert!(
        said.contains("signature of clinic-1 does not hold"),
        "{said}"
    );
}
