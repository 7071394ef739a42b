use super::*;

#[test]
fn three_members_tolerate_no_dropout_and_five_tolerate_one() {
    let three = Thresholds::new(3, None, None).unwrap();
    assert_eq!(
        (
            three.colluders(),
            three.threshold(),
            three.fewest_survivors()
        ),
        (1, 3, 3)
    );
    let five = Thresholds::new(5, None, None).unwrap();
    assert_eq!(
        (five.colluders(), five.threshold(), five.fewest_survivors()),
        (1, 4, 4)
    );
}

#[test]
fn no_coalition_reaches_both_secrets_for_any_legal_choice() {
    for n in 3..=MAX_COMPLETE_COHORT {
        for c in 1..=n - 2 {
            let terms = Thresholds::new(n, Some(c), None).unwrap();
            assert!(
                2 * terms.threshold() > n + c && terms.threshold() <= n,
                "n={n} c={c}"
            );
        }
    }
}

#[test]
fn a_minimum_below_the_threshold_is_refused() {
    let error = Thresholds::new(5, None, Some(3)).unwrap_err();
    assert_eq!(
        error,
        ThresholdsError::Minimum {
            minimum: 3,
            least: 4,
            cohort: 5
        }
    );
    assert!(Thresholds::new(2, None, None).is_err());
    assert!(Thresholds::new(5, Some(4), None).is_err());
}

#[test]
fn up_to_256_members_nothing_says_which_graph_and_above_every_number_does() {
    let encoded = |t: Thresholds| t.encode(Canonical::new("x")).finish();
    let plain = |numbers: [u64; 4]| {
        numbers
            .into_iter()
            .fold(Canonical::new("x"), Canonical::u64)
            .finish()
    };
    let complete = Thresholds::new(256, None, None).unwrap();
    assert_eq!(complete.graph(), Graph::Complete);
    assert_eq!(encoded(complete), plain([256, 85, 171, 171]));
    let sparse = Thresholds::with_dropouts(300, Some(10), None, Some(10)).unwrap();
    let again = Thresholds::with_dropouts(300, Some(10), None, Some(11)).unwrap();
    assert_ne!(encoded(sparse), encoded(again));
    assert!(encoded(sparse).starts_with(&plain([300, 10, 156, 290])));
}

#[test]
fn a_sparse_graph_asks_for_fewer_shares_than_members_and_keeps_the_global_quorum() {
    let sparse = Thresholds::new(1000, Some(50), None).unwrap();
    assert_eq!(sparse.dropouts(), Some(50));
    assert_eq!((sparse.threshold(), sparse.minimum()), (526, 950));
    assert_eq!(sparse.confirmation_quorum(), 526);
    let Graph::Harary(circle) = sparse.graph() else {
        panic!("a circle")
    };
    assert_eq!(sparse.share_threshold(), 2 * circle.witnesses - 1);
    assert!(sparse.share_threshold() < 100);
}

#[test]
fn dropouts_that_n_min_or_the_graph_does_not_carry_are_refused() {
    let of = |n, c, minimum, d| Thresholds::with_dropouts(n, Some(c), minimum, d);
    let code = |result: Result<Thresholds, ThresholdsError>| result.unwrap_err().code();
    assert_eq!(code(of(300, 10, None, Some(145))), "dropouts_range");
    assert_eq!(code(of(300, 10, Some(290), Some(11))), "dropouts_range");
    assert_eq!(
        code(of(100, 10, None, Some(1))),
        "dropouts_of_complete_graph"
    );
    assert_eq!(code(of(300, 200, None, None)), "graph_too_dense");
    assert_eq!(code(Thresholds::new(1025, None, None)), "cohort_size");
    assert!(Thresholds::new(1024, None, None).is_ok());
}
