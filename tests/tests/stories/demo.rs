//! The demo as a newcomer runs it.

use crate::program::demo;

#[test]
fn a_demo_of_three_rounds_ends_with_a_private_model_and_a_verified_log() {
    let demo = demo(&["--rounds", "3"]);
    assert!(demo.succeeded);
    let result = &demo.result;
    assert_eq!(demo.numbers("survivors"), [5, 5, 5]);
    assert_eq!(
        (result["members"].as_u64(), result["rounds"].as_u64()),
        (Some(5), Some(3))
    );
    let epsilon = result["epsilon"].as_f64().unwrap();
    assert!(epsilon > 0.9 && epsilon <= 1.0, "{epsilon}");
    assert_eq!(result["attestation"], "SIMULATED");
    assert_eq!(result["audit_verified"], true);
    assert_eq!(result["coordinator_restarts"], 0);
    assert!(result["bytes_sent_per_member"].as_u64().unwrap() > 0);
    let model = result["model_path"].as_str().unwrap();
    assert!(std::path::Path::new(model).is_file());
    // Colluding members know their own noise: the more collude, the less is left.
    let by_coalition: Vec<f64> = result["epsilon_by_coalition"]
        .as_array()
        .unwrap()
        .iter()
        .map(|epsilon| epsilon.as_f64().unwrap())
        .collect();
    assert!(by_coalition.is_sorted(), "{by_coalition:?}");
}
