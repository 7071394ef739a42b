//! Evaluations and statistics of classes, numbers and counts, against values computed in the plain.

use super::*;
use crate::JobError;
use crate::features::TargetKind;
use crate::target_fit::loss_of;

fn classes() -> TargetKind {
    let names = ["none", "benign", "malignant"].map(str::to_owned).into();
    TargetKind::Classes { names }
}

const NUMBER: TargetKind = TargetKind::Number {
    least: -20.0,
    most: 60.0,
};

const COUNT: TargetKind = TargetKind::Count { most: 12 };

/// The document of the other tests with another target, and a model that fits it.
fn document_of(kind: TargetKind, algorithm: Algorithm) -> JobDocument {
    let mut document = document(algorithm);
    let outputs = match &kind {
        TargetKind::Classes { names } => u32::try_from(names.len()).unwrap(),
        TargetKind::Binary { .. } | TargetKind::Number { .. } | TargetKind::Count { .. } => 1,
    };
    if document.algorithm.kind() != JobKind::Stats {
        document.model.layers = vec![Layer::Dense { outputs }];
        document.model.loss = loss_of(&kind);
    }
    let target = TargetSpec {
        column: "ill".to_owned(),
        kind,
    };
    let features = data().features().to_vec();
    document.data = DataSchema::new(features, target, MissingValues::Refuse).unwrap();
    document
}

fn asked() -> Evaluate {
    Evaluate {
        threshold: None,
        bins: None,
        ..evaluate()
    }
}

fn evaluating(kind: TargetKind) -> Job {
    let algorithm = Algorithm::Query(Query::Evaluate(asked()));
    Job::new(document_of(kind, algorithm)).unwrap()
}

/// Label and outputs of two hundred records, the same each time.
fn judged(kind: &TargetKind) -> Vec<(f32, Vec<f32>)> {
    let mut rng = ChaCha20Rng::from_seed([5; 32]);
    let mut uniform = move || f32::from(u16::try_from(rng.next_u32() >> 16).unwrap()) / 65_535.0;
    let mut one = |i: u16| match kind {
        TargetKind::Classes { .. } => {
            let own = usize::from(i % 3);
            let output = |class| if class == own { 1.5 } else { 0.0 } + 2.0 * uniform();
            (f32::from(i % 3), (0..3).map(output).collect())
        }
        TargetKind::Number { .. } => {
            let label = uniform();
            (label, vec![label + 0.6 * uniform() - 0.3])
        }
        TargetKind::Count { .. } => {
            let label = (12.9 * uniform()).floor();
            (label, vec![(label + 1.0).ln() + uniform() - 0.5])
        }
        TargetKind::Binary { .. } => panic!("the other tests have it"),
    };
    (0..200).map(&mut one).collect()
}

/// The sum without noise, and its report.
fn reported(job: &Job, records: &[(f32, Vec<f32>)]) -> (Plan, Vec<i64>, Report) {
    let plan = Plan::derive(job).unwrap();
    let query = job.query().unwrap();
    let noise = plan.noise();
    let mut sum = RecordSum::new(noise.grid(), noise.record_cap(), query.elements());
    let mut row = vec![0.0; query.elements()];
    for (label, outputs) in records {
        query.record(&[0.5, 1.0, -1.0, 0.25], *label, outputs, &mut row);
        assert_eq!(sum.add_record(&row).unwrap(), RecordOutcome::Kept);
    }
    let sum = sum.dangerous_into_integers();
    let report = report(job, &plan, &sum);
    (plan, sum, report)
}

fn mean_of(records: &[(f32, Vec<f32>)], read: impl Fn(f64, &[f64]) -> f64) -> f64 {
    let each = records.iter().map(|(label, outputs)| {
        let outputs: Vec<f64> = outputs.iter().copied().map(f64::from).collect();
        read((*label).into(), &outputs)
    });
    each.sum::<f64>() / number(records.len())
}

#[test]
fn without_noise_an_evaluation_of_classes_is_the_one_of_the_records() {
    let records = judged(&classes());
    let (_, _, report) = reported(&evaluating(classes()), &records);
    near(report.records, 200.0, 1e-2);
    let Answer::Classes(scores) = report.answers else {
        panic!("{report:?}")
    };
    let called = |outputs: &[f64]| {
        let places = (0..3).max_by(|a: &usize, b| outputs[*a].total_cmp(&outputs[*b]));
        number(places.unwrap())
    };
    let right = mean_of(&records, |label, outputs| {
        f64::from(u8::from(called(outputs) == label))
    });
    assert!((0.5..0.99).contains(&right), "{right}");
    near(scores.accuracy, right, 1e-4);
    let loss = mean_of(&records, |label, outputs| {
        let sum: f64 = outputs.iter().map(|output| output.exp()).sum();
        let own = (0..3).find(|class| number(*class) == label).unwrap();
        (sum.ln() - outputs[own]).min(scores.loss_limit)
    });
    assert_eq!(scores.loss_limit, Loss::CrossEntropy.cap(3));
    near(scores.loss, loss, 1e-3);
    let table = scores.confusion.unwrap();
    for (class, score) in scores.classes.iter().enumerate() {
        let count = |is: f64, says: f64| {
            let fits = |label, outputs: &[f64]| {
                f64::from(u8::from(label == is && called(outputs) == says))
            };
            200.0 * mean_of(&records, fits)
        };
        let own = number(class);
        let all = |read: &dyn Fn(f64) -> f64| (0..3).map(|other| read(number(other))).sum::<f64>();
        for (other, told) in table[class].iter().enumerate() {
            assert!((told - count(own, number(other))).abs() < 1e-2);
        }
        let records = all(&|other| count(own, other));
        near(score.records, records, 1e-1);
        near(score.sensitivity, count(own, own) / records, 1e-3);
        let called = all(&|other| count(other, own));
        near(score.precision.unwrap(), count(own, own) / called, 1e-3);
    }
    assert_eq!(scores.classes[2].class, "malignant");
}

#[test]
fn of_many_classes_each_ones_right_and_wrong_calls_are_counted() {
    let names: Vec<String> = (0..40).map(|class| class.to_string()).collect();
    let job = evaluating(TargetKind::Classes { names });
    assert_eq!(job.query().unwrap().elements(), 1 + 80 + 1 + 1);
    let outputs = |called: usize| {
        let output = |class| if class == called { 3.0 } else { 0.0 };
        (0..40).map(output).collect::<Vec<f32>>()
    };
    let mut records = vec![(39.0, outputs(39)); 100];
    records.extend(vec![(39.0, outputs(7)); 50]);
    records.extend(vec![(7.0, outputs(7)); 100]);
    let (_, _, report) = reported(&job, &records);
    let Answer::Classes(scores) = report.answers else {
        panic!("{report:?}")
    };
    near(scores.accuracy, 0.8, 1e-3);
    near(scores.classes[39].sensitivity, 2.0 / 3.0, 1e-3);
    near(scores.classes[7].sensitivity, 1.0, 1e-3);
    assert_eq!(
        (scores.confusion, scores.classes[7].precision),
        (None, None)
    );
}

#[test]
fn without_noise_errors_of_numbers_are_told_in_the_unit_of_the_column() {
    let records = judged(&NUMBER);
    let (_, _, report) = reported(&evaluating(NUMBER), &records);
    let Answer::Numbers(errors) = report.answers else {
        panic!("{report:?}")
    };
    let error = |label: f64, outputs: &[f64]| 80.0 * (outputs[0].clamp(0.0, 1.0) - label).abs();
    let squared = mean_of(&records, |label, outputs| error(label, outputs).powi(2));
    near(errors.mean_squared_error, squared, 0.05);
    near(errors.root_mean_squared_error, squared.sqrt(), 0.01);
    near(errors.mean_absolute_error, mean_of(&records, error), 0.01);
}

#[test]
fn without_noise_errors_of_counts_are_deviance_and_distance() {
    let records = judged(&COUNT);
    let (_, _, report) = reported(&evaluating(COUNT), &records);
    let Answer::Counts(errors) = report.answers else {
        panic!("{report:?}")
    };
    let deviance = mean_of(&records, |y, outputs| {
        let expected = outputs[0].exp();
        let own = if y > 0.0 {
            y * (y / expected).ln()
        } else {
            0.0
        };
        (2.0 * (expected - y + own)).min(8.0)
    });
    assert_eq!(errors.deviance_limit, 8.0);
    near(errors.mean_deviance, deviance, 1e-3);
    let distance = mean_of(&records, |y, outputs| {
        (outputs[0].exp().min(12.0) - y).abs()
    });
    near(errors.mean_absolute_error, distance, 1e-2);
}

#[test]
fn the_spread_of_noised_evaluations_is_their_stated_standard_error() {
    const DRAWS: u32 = 400;
    let seed = [13; 32];
    println!("seed {seed:?}");
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut spread = |kind: TargetKind, pick: &dyn Fn(&Answer) -> Estimate| {
        let algorithm = Algorithm::Query(Query::Evaluate(asked()));
        let mut document = document_of(kind.clone(), algorithm);
        // So little noise that a mean of squares of a thirtieth is not drowned, and its root is linear in it.
        document.privacy.epsilon = 30.0;
        let job = Job::new(document).unwrap();
        let (plan, plain, truth) = reported(&job, &judged(&kind));
        let truth = pick(&truth.answers).value.unwrap();
        let deviation = (4.0 * f64_of(plan.noise().member_variance().sigma_squared())).sqrt();
        let (mut squares, mut stated) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let noised = plain
                .iter()
                .map(|value| value + whole(normal(&mut rng) * deviation));
            let noised: Vec<i64> = noised.collect();
            let estimate = pick(&report(&job, &plan, &noised).answers);
            squares += (estimate.value.unwrap() - truth).powi(2) / f64::from(DRAWS);
            stated += estimate.standard_error.unwrap() / f64::from(DRAWS);
        }
        // A standard deviation of 400 draws has a relative error of 1/sqrt(800) = 3.5 %; five of them, and first order.
        let ratio = squares.sqrt() / stated;
        assert!((0.8..1.25).contains(&ratio), "{kind:?}: {ratio}");
    };
    let of_classes = |read: fn(&ClassScores) -> Estimate| {
        move |answer: &Answer| {
            let Answer::Classes(scores) = answer else {
                panic!("the job asks for something else")
            };
            read(scores)
        }
    };
    spread(classes(), &of_classes(|scores| scores.accuracy));
    spread(classes(), &of_classes(|scores| scores.loss));
    spread(
        classes(),
        &of_classes(|scores| scores.classes[1].sensitivity),
    );
    spread(
        classes(),
        &of_classes(|scores| scores.classes[1].precision.unwrap()),
    );
    spread(classes(), &of_classes(|scores| scores.classes[1].records));
    let of_numbers = |read: fn(&NumberErrors) -> Estimate| {
        move |answer: &Answer| {
            let Answer::Numbers(errors) = answer else {
                panic!("the job asks for something else")
            };
            read(errors)
        }
    };
    spread(NUMBER, &of_numbers(|errors| errors.mean_squared_error));
    spread(NUMBER, &of_numbers(|errors| errors.root_mean_squared_error));
    spread(NUMBER, &of_numbers(|errors| errors.mean_absolute_error));
    let of_counts = |read: fn(&CountErrors) -> Estimate| {
        move |answer: &Answer| {
            let Answer::Counts(errors) = answer else {
                panic!("the job asks for something else")
            };
            read(errors)
        }
    };
    spread(COUNT, &of_counts(|errors| errors.mean_deviance));
    spread(COUNT, &of_counts(|errors| errors.mean_absolute_error));
}

#[test]
fn a_target_of_numbers_has_statistics_like_a_feature() {
    let queries = vec![mean("ill"), histogram("ill", 4)];
    let answers = |kind: TargetKind| {
        let records = judged(&kind);
        let job = Job::new(document_of(kind, stats(queries.clone()))).unwrap();
        (stats_of(reported(&job, &records).2), records)
    };
    for (kind, least, width) in [(NUMBER, -20.0, 80.0), (COUNT, 0.0, 1.0)] {
        let (answers, records) = answers(kind);
        let expected = least + width * mean_of(&records, |label, _| label);
        let ColumnAnswer::Mean { mean, .. } = &answers[0] else {
            panic!("{answers:?}")
        };
        near(*mean, expected, 0.05);
        let ColumnAnswer::Histogram { edges, counts, .. } = &answers[1] else {
            panic!("{answers:?}")
        };
        assert_eq!(edges[0], least);
        assert!((counts.iter().sum::<f64>() - 200.0).abs() < 1.0);
    }
    let job = Job::new(document_of(classes(), stats(vec![categories("ill")]))).unwrap();
    let answers = stats_of(reported(&job, &judged(&classes())).2);
    let ColumnAnswer::Categories { levels, counts, .. } = &answers[0] else {
        panic!("{answers:?}")
    };
    assert_eq!(levels[1], "benign");
    assert_eq!(counts[1].round(), 67.0);
}

#[test]
fn what_does_not_fit_the_target_is_refused_by_name() {
    let code = |document: JobDocument| Job::new(document).unwrap_err().code();
    let evaluate_of = |change: fn(&mut Evaluate)| {
        let mut evaluate = asked();
        change(&mut evaluate);
        Algorithm::Query(Query::Evaluate(evaluate))
    };
    let unsaid = document(evaluate_of(|_| ()));
    assert_eq!(code(unsaid), "query_scores_unsaid");
    let half = document(evaluate_of(|it| it.threshold = Some(0.5)));
    assert_eq!(code(half), "query_scores_unsaid");
    for kind in [classes(), NUMBER, COUNT] {
        for change in [
            (|it: &mut Evaluate| it.threshold = Some(0.5)) as fn(&mut Evaluate),
            |it| it.bins = Some(4),
        ] {
            let needless = document_of(kind.clone(), evaluate_of(change));
            assert_eq!(code(needless), "query_needless_scores");
        }
        let confused = document_of(kind.clone(), evaluate_of(|it| it.weights.confusion = 2.0));
        let numbers = kind != classes();
        assert_eq!(Job::new(confused).is_err(), numbers);
        let asking = stats(vec![if numbers {
            categories("ill")
        } else {
            mean("ill")
        }]);
        let asked = code(document_of(kind.clone(), asking));
        assert!(asked == "query_not_a_category" || asked == "query_not_a_number");
        for other in [
            Loss::BinaryCrossEntropy,
            Loss::CrossEntropy,
            Loss::SquaredError,
            Loss::Poisson,
        ] {
            let mut document = document_of(kind.clone(), evaluate_of(|_| ()));
            document.model.loss = other;
            let fits = other == loss_of(&kind);
            assert_eq!(
                Job::new(document.clone()).is_ok(),
                fits,
                "{kind:?} {other:?}"
            );
            if !fits {
                let JobError::Target(error) = Job::new(document).unwrap_err() else {
                    panic!("{kind:?} {other:?}")
                };
                assert_eq!(
                    (error.code(), error.field()),
                    ("job_loss_of_another_target", "model.loss")
                );
            }
        }
    }
    let mut wide = document_of(classes(), evaluate_of(|_| ()));
    wide.model.layers = vec![Layer::Dense { outputs: 4 }];
    assert_eq!(code(wide), "job_outputs_of_other_classes");
}

proptest! {
    /// The proof of the module's documentation, on whatever a model can give.
    #[test]
    fn no_judged_record_is_longer_than_the_norm_and_none_is_shortened(
        outputs in prop::collection::vec(any::<f32>(), 3),
        label in 0_u8..3,
        share in 0_f32..=1.0,
        weights in prop::collection::vec(1e-3_f64..1e3, 4),
    ) {
        for (kind, label) in [(classes(), f32::from(label)), (NUMBER, share), (COUNT, f32::from(label) * 6.0)] {
            let numbers = kind != classes();
            let mut evaluate = asked();
            evaluate.weights = EvaluateWeights {
                count: weights[0],
                confusion: if numbers { 1.0 } else { weights[1] },
                scores: weights[2],
                loss: weights[3],
            };
            let outputs = if numbers { &outputs[..1] } else { &outputs[..] };
            let algorithm = Algorithm::Query(Query::Evaluate(evaluate));
            let job = Job::new(document_of(kind, algorithm)).unwrap();
            let plan = Plan::derive(&job).unwrap();
            let query = job.query().unwrap();
            let mut row = vec![0.0; query.elements()];
            query.record(&[0.5, 1.0, -1.0, 0.25], label, outputs, &mut row);
            let mut integers = vec![0; row.len()];
            let outcome = plan.noise().grid().clip_record(&row, &mut integers);
            let damaged = outputs.iter().any(|output| !output.is_finite());
            prop_assert_eq!(outcome, if damaged { RecordOutcome::Zeroed } else { RecordOutcome::Kept });
            let norm: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            prop_assert!(damaged || norm <= 1.0);
        }
    }
}
