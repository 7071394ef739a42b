//! Query vectors against values computed in the plain, and standard errors against noise.

use consort_model::{Layer, Loss};
use consort_privacy::{RecordOutcome, RecordSum};
use proptest::prelude::*;
use rand_chacha::ChaCha20Rng;
use rand_core::{RngCore, SeedableRng};

use super::*;
use crate::features::{FeatureSpec, MissingValues, TargetSpec};

use crate::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, JobDocument, ModelDocument,
    PrivacyDocument,
};
use crate::organisation::{JobId, Label, OrganisationId};
use crate::{Algorithm, Job, JobKind, Plan, Requirements};

mod targets;

fn data() -> DataSchema {
    let number = |column: &str, center, scale, clip| FeatureSpec::Numeric {
        column: column.to_owned(),
        center,
        scale,
        clip,
    };
    let pain = FeatureSpec::OneHot {
        column: "pain".to_owned(),
        levels: ["none", "some", "much"].map(str::to_owned).into(),
    };
    let target = TargetSpec::binary("ill", 0.5);
    let features = vec![
        number("age", 50.0, 10.0, 4.0),
        pain,
        number("pressure", 130.0, 20.0, 3.0),
    ];
    DataSchema::new(features, target, MissingValues::Refuse).unwrap()
}

fn stats(queries: Vec<StatsQuery>) -> Algorithm {
    Algorithm::Query(Query::Stats(Stats {
        queries,
        count_weight: 1.0,
        max_records_per_member: 1000,
    }))
}

fn evaluate() -> Evaluate {
    Evaluate {
        model_of: JobId::new("job-1").unwrap(),
        parameters: [7; 32],
        threshold: Some(0.5),
        bins: Some(10),
        weights: EvaluateWeights::default(),
        max_records_per_member: 1000,
    }
}

fn document(algorithm: Algorithm) -> JobDocument {
    let label = |text: &str| Label::new(text).unwrap();
    let model = match algorithm.kind() {
        JobKind::Stats => ModelDocument::none(),
        JobKind::Training | JobKind::Evaluate => ModelDocument {
            layers: vec![Layer::Dense { outputs: 1 }],
            loss: Loss::BinaryCrossEntropy,
            seed: [0; 32],
        },
    };
    JobDocument {
        name: label("asks"),
        purpose: label("tests"),
        dataset: label("records"),
        members: (1..=4)
            .map(|i| OrganisationId::new(&format!("clinic-{i}")).unwrap())
            .collect(),
        data: data(),
        model,
        algorithm,
        privacy: PrivacyDocument {
            // Little noise: most tests put none on the sum, but estimates know what is stated.
            epsilon: 20.0,
            delta: 1e-5,
            c_noise: 1,
        },
        aggregation: AggregationDocument::default(),
        deadlines: DeadlineDocument::default(),
        requirements: Requirements::default(),
        data_access: DataAccessDocument::default(),
    }
}

fn job(algorithm: Algorithm) -> Job {
    Job::new(document(algorithm)).unwrap()
}

fn mean(column: &str) -> StatsQuery {
    StatsQuery::Mean {
        column: column.to_owned(),
        weight: 1.0,
    }
}

fn variance(column: &str) -> StatsQuery {
    StatsQuery::Variance {
        column: column.to_owned(),
        weight: 1.0,
    }
}

fn histogram(column: &str, bins: u32) -> StatsQuery {
    StatsQuery::Histogram {
        column: column.to_owned(),
        bins,
        weight: 1.0,
    }
}

fn quantiles(column: &str, bins: u32, at: &[f64]) -> StatsQuery {
    StatsQuery::Quantiles {
        column: column.to_owned(),
        bins,
        at: at.to_vec(),
        weight: 1.0,
    }
}

fn categories(column: &str) -> StatsQuery {
    StatsQuery::Categories {
        column: column.to_owned(),
        weight: 1.0,
    }
}

fn every_kind() -> Vec<StatsQuery> {
    vec![
        mean("age"),
        variance("pressure"),
        histogram("age", 8),
        quantiles("pressure", 24, &[0.25, 0.5]),
        categories("pain"),
        categories("ill"),
    ]
}

/// A record as the data schema makes it.
#[derive(Debug, Clone, Copy)]
struct Record {
    inputs: [f32; 4],
    label: f32,
    logit: f32,
}

/// Age in scales, level of pain, pressure in scales.
fn record(age: f32, pain: usize, pressure: f32, label: f32) -> Record {
    let level = |own| if pain == own { 1.0 } else { -1.0 };
    Record {
        inputs: [age, level(1), level(2), pressure],
        label,
        logit: age + pressure,
    }
}

/// Two hundred records, the same each time.
fn records() -> Vec<Record> {
    let mut rng = ChaCha20Rng::from_seed([3; 32]);
    let mut uniform = move || f32::from(u16::try_from(rng.next_u32() >> 16).unwrap()) / 65_535.0;
    (0..200)
        .map(|i| {
            let (age, pressure) = (6.0 * uniform() - 3.0, 4.0 * uniform() - 2.0);
            let label = if age + 2.0 * uniform() > 1.0 {
                1.0
            } else {
                0.0
            };
            record(age, i % 3, pressure, label)
        })
        .collect()
}

/// The sum as a member makes it, without noise.
fn sum_of(job: &Job, plan: &Plan, records: &[Record]) -> Vec<i64> {
    let query = job.query().unwrap();
    let noise = plan.noise();
    let mut sum = RecordSum::new(noise.grid(), noise.record_cap(), query.elements());
    let mut row = vec![0.0; query.elements()];
    for record in records {
        query.record(&record.inputs, record.label, &[record.logit], &mut row);
        assert_eq!(sum.add_record(&row).unwrap(), RecordOutcome::Kept);
    }
    sum.dangerous_into_integers()
}

fn report(job: &Job, plan: &Plan, sum: &[i64]) -> Report {
    Report::of(&JobId::new("job-2").unwrap(), job, plan, sum, 4).unwrap()
}

fn stats_of(report: Report) -> Vec<ColumnAnswer> {
    let Answer::Stats(answers) = report.answers else {
        panic!("the job asks for something else")
    };
    answers
}

fn scores_of(report: Report) -> Scores {
    let Answer::Evaluate(scores) = report.answers else {
        panic!("the job asks for something else")
    };
    scores
}

/// Truncation to the grid takes less than one unit of 2^-20 of the norm per record and coordinate.
fn near(estimate: Estimate, expected: f64, tolerance: f64) {
    let value = estimate.value.unwrap();
    assert!(
        (value - expected).abs() <= tolerance,
        "{value} is not {expected}"
    );
}

#[test]
fn without_noise_each_statistic_is_the_one_of_the_records() {
    let job = job(stats(every_kind()));
    let plan = Plan::derive(&job).unwrap();
    let records = records();
    let report = report(&job, &plan, &sum_of(&job, &plan, &records));
    near(report.records, 200.0, 1e-2);
    let answers = stats_of(report);
    let of = |read: &dyn Fn(&Record) -> f64| records.iter().map(read).sum::<f64>() / 200.0;
    let age = |record: &Record| 50.0 + 10.0 * f64::from(record.inputs[0]);
    let pressure = |record: &Record| 130.0 + 20.0 * f64::from(record.inputs[3]);
    let ColumnAnswer::Mean { mean, .. } = &answers[0] else {
        panic!("{answers:?}")
    };
    near(*mean, of(&age), 0.01);
    let ColumnAnswer::Variance { mean, variance, .. } = &answers[1] else {
        panic!("{answers:?}")
    };
    let middle = of(&pressure);
    near(*mean, middle, 0.02);
    near(
        *variance,
        of(&|record| (pressure(record) - middle).powi(2)),
        0.5,
    );
    let ColumnAnswer::Histogram { edges, counts, .. } = &answers[2] else {
        panic!("{answers:?}")
    };
    assert_eq!(edges.first(), Some(&10.0));
    assert_eq!(edges.last(), Some(&90.0));
    for (bin, count) in counts.iter().enumerate() {
        let inside = |record: &&Record| (edges[bin]..edges[bin + 1]).contains(&age(record));
        let plain = records.iter().filter(inside).count();
        assert!((count - number(plain)).abs() < 1e-2, "{bin}: {count}");
    }
    let ColumnAnswer::Quantiles {
        quantiles,
        bin_width,
        ..
    } = &answers[3]
    else {
        panic!("{answers:?}")
    };
    let mut sorted: Vec<f64> = records.iter().map(pressure).collect();
    sorted.sort_by(f64::total_cmp);
    near(quantiles[0].estimate, sorted[50], *bin_width);
    near(quantiles[1].estimate, sorted[100], *bin_width);
    let counted = |answer: &ColumnAnswer| {
        let ColumnAnswer::Categories { counts, .. } = answer else {
            panic!("{answer:?}")
        };
        counts.iter().map(|count| count.round()).collect::<Vec<_>>()
    };
    assert_eq!(counted(&answers[4]), [67.0, 67.0, 66.0]);
    let ill = number(records.iter().filter(|record| record.label > 0.5).count());
    assert_eq!(counted(&answers[5]), [200.0 - ill, ill]);
}

#[test]
fn without_noise_an_evaluation_is_the_one_of_the_records() {
    let job = job(Algorithm::Query(Query::Evaluate(evaluate())));
    let plan = Plan::derive(&job).unwrap();
    let records = records();
    let scores = scores_of(report(&job, &plan, &sum_of(&job, &plan, &records)));
    let count = |called: bool, is: bool| {
        let fits = |record: &&Record| (record.logit >= 0.0) == called && (record.label > 0.5) == is;
        number(records.iter().filter(fits).count())
    };
    near(scores.true_positives, count(true, true), 1e-2);
    near(scores.false_positives, count(true, false), 1e-2);
    near(scores.false_negatives, count(false, true), 1e-2);
    near(scores.true_negatives, count(false, false), 1e-2);
    let right = count(true, true) + count(false, false);
    near(scores.accuracy, right / 200.0, 1e-4);
    let loss: f64 = records
        .iter()
        .map(|record| cross_entropy(record.logit, record.label > 0.5).min(2.0))
        .sum();
    near(scores.loss, loss / 200.0, 1e-3);
    // Of each pair, by bins of a tenth.
    let bin = |record: &Record| (score_of(record.logit).unwrap() * 10.0).floor().min(9.0);
    let (mut higher, mut pairs) = (0.0, 0.0);
    for positive in records.iter().filter(|record| record.label > 0.5) {
        for negative in records.iter().filter(|record| record.label < 0.5) {
            pairs += 1.0;
            higher += match bin(positive).total_cmp(&bin(negative)) {
                std::cmp::Ordering::Greater => 1.0,
                std::cmp::Ordering::Equal => 0.5,
                std::cmp::Ordering::Less => 0.0,
            };
        }
    }
    near(scores.area_under_curve, higher / pairs, 1e-4);
    assert_eq!(scores.calibration.len(), 10);
    let positives = scores.calibration.iter().map(|bin| bin.positives.value);
    let positives: f64 = positives.map(Option::unwrap).sum();
    assert!((positives - count(true, true) - count(false, true)).abs() < 0.1);
}

/// A standard normal number: the sum of twelve uniform ones, less six.
fn normal(rng: &mut ChaCha20Rng) -> f64 {
    let uniform = |rng: &mut ChaCha20Rng| f64::from(rng.next_u32()) / 4_294_967_296.0;
    (0..12).map(|_| uniform(rng)).sum::<f64>() - 6.0
}

#[test]
fn the_spread_of_noised_estimates_is_their_stated_standard_error() {
    const DRAWS: u32 = 400;
    let seed = [11; 32];
    println!("seed {seed:?}");
    let mut rng = ChaCha20Rng::from_seed(seed);
    let mut spread = |algorithm: Algorithm, pick: &dyn Fn(&Report) -> Estimate| {
        let mut document = document(algorithm);
        // Large enough that the delta method holds.
        document.privacy.epsilon = 8.0;
        let job = Job::new(document).unwrap();
        let plan = Plan::derive(&job).unwrap();
        let plain = sum_of(&job, &plan, &records());
        let truth = pick(&report(&job, &plan, &plain)).value.unwrap();
        let deviation = (4.0 * f64_of(plan.noise().member_variance().sigma_squared())).sqrt();
        let (mut squares, mut stated) = (0.0, 0.0);
        for _ in 0..DRAWS {
            let noise = |rng: &mut ChaCha20Rng| whole(normal(rng) * deviation);
            let noised: Vec<i64> = plain.iter().map(|value| value + noise(&mut rng)).collect();
            let estimate = pick(&report(&job, &plan, &noised));
            squares += (estimate.value.unwrap() - truth).powi(2) / f64::from(DRAWS);
            stated += estimate.standard_error.unwrap() / f64::from(DRAWS);
        }
        // A standard deviation of 400 draws has a relative error of 1/sqrt(800) = 3.5 %; five of them, and first order.
        let ratio = squares.sqrt() / stated;
        assert!((0.8..1.25).contains(&ratio), "{ratio}");
    };
    let of_column = |place: usize| {
        move |report: &Report| match &stats_of(report.clone())[place] {
            ColumnAnswer::Mean { mean, .. } => *mean,
            ColumnAnswer::Variance { variance, .. } => *variance,
            ColumnAnswer::Histogram {
                counts,
                standard_error,
                ..
            } => Estimate::new(counts[2], *standard_error),
            ColumnAnswer::Quantiles { quantiles, .. } => quantiles[0].estimate,
            ColumnAnswer::Categories {
                counts,
                standard_error,
                ..
            } => Estimate::new(counts[0], *standard_error),
        }
    };
    let few = || stats(vec![mean("age"), variance("pressure"), histogram("age", 8)]);
    spread(few(), &|report| report.records);
    spread(few(), &of_column(0));
    spread(few(), &of_column(1));
    spread(few(), &of_column(2));
    spread(stats(vec![quantiles("age", 8, &[0.5])]), &of_column(0));
    let scores = || Algorithm::Query(Query::Evaluate(evaluate()));
    spread(scores(), &|report| scores_of(report.clone()).accuracy);
    spread(scores(), &|report| scores_of(report.clone()).precision);
    spread(scores(), &|report| scores_of(report.clone()).loss);
    spread(scores(), &|report| {
        scores_of(report.clone()).area_under_curve
    });
}

#[test]
fn a_constant_column_has_no_variance_and_its_quantiles_lie_in_one_bin() {
    let job = job(stats(vec![
        variance("age"),
        quantiles("age", 10, &[0.1, 0.9]),
    ]));
    let plan = Plan::derive(&job).unwrap();
    let constant = vec![record(0.5, 0, 0.0, 0.0); 100];
    let answers = stats_of(report(&job, &plan, &sum_of(&job, &plan, &constant)));
    let ColumnAnswer::Variance { variance, mean, .. } = &answers[0] else {
        panic!("{answers:?}")
    };
    near(*mean, 55.0, 0.01);
    near(*variance, 0.0, 0.1);
    let ColumnAnswer::Quantiles {
        quantiles,
        bin_width,
        ..
    } = &answers[1]
    else {
        panic!("{answers:?}")
    };
    assert_eq!(*bin_width, 8.0);
    for quantile in quantiles {
        near(quantile.estimate, 55.0, *bin_width);
    }
}

#[test]
fn of_one_record_and_of_none_only_the_noised_counts_are_told() {
    let job = job(stats(every_kind()));
    let plan = Plan::derive(&job).unwrap();
    for records in [vec![], vec![record(1.0, 1, 1.0, 1.0)]] {
        let report = report(&job, &plan, &sum_of(&job, &plan, &records));
        near(report.records, number(records.len()), 1e-3);
        let answers = stats_of(report);
        let ColumnAnswer::Mean { mean, .. } = &answers[0] else {
            panic!("{answers:?}")
        };
        assert_eq!(*mean, Estimate::unknown());
        let ColumnAnswer::Quantiles { quantiles, .. } = &answers[3] else {
            panic!("{answers:?}")
        };
        assert_eq!(quantiles[0].estimate, Estimate::unknown());
    }
    let evaluating = super::tests::job(Algorithm::Query(Query::Evaluate(evaluate())));
    let plan = Plan::derive(&evaluating).unwrap();
    let scores = scores_of(report(&evaluating, &plan, &sum_of(&evaluating, &plan, &[])));
    assert_eq!(scores.accuracy, Estimate::unknown());
    assert_eq!(scores.area_under_curve, Estimate::unknown());
}

#[test]
fn a_record_that_is_not_finite_counts_as_zero() {
    let job = job(stats(vec![mean("age")]));
    let mut row = vec![0.0; 2];
    let damaged = [f32::NAN, 1.0, -1.0, 0.0];
    job.query().unwrap().record(&damaged, 0.0, &[], &mut row);
    let plan = Plan::derive(&job).unwrap();
    let mut integers = vec![1; 2];
    let outcome = plan.noise().grid().clip_record(&row, &mut integers);
    assert_eq!((outcome, integers), (RecordOutcome::Zeroed, vec![0, 0]));
}

#[test]
fn what_cannot_be_asked_is_refused_by_name() {
    let refused = |algorithm| Job::new(document(algorithm)).unwrap_err().code();
    let unknown = |query| refused(stats(vec![query]));
    assert_eq!(unknown(mean("weight")), "query_unknown_column");
    assert_eq!(unknown(categories("weight")), "query_unknown_column");
    assert_eq!(unknown(mean("pain")), "query_not_a_number");
    assert_eq!(unknown(histogram("ill", 2)), "query_not_a_number");
    assert_eq!(unknown(categories("age")), "query_not_a_category");
    assert_eq!(unknown(histogram("age", 0)), "job_number_out_of_range");
    assert_eq!(unknown(histogram("age", 4097)), "job_number_out_of_range");
    for at in [&[] as &[f64], &[0.0], &[1.0], &[f64::NAN], &[0.5; 65]] {
        assert_eq!(unknown(quantiles("age", 4, at)), "job_number_out_of_range");
    }
    for weight in [0.0, -1.0, f64::NAN, f64::INFINITY] {
        let column = "age".to_owned();
        let query = StatsQuery::Mean { column, weight };
        assert_eq!(unknown(query), "job_number_out_of_range", "{weight}");
    }
    let far = |weight| StatsQuery::Mean {
        column: "age".to_owned(),
        weight,
    };
    for weight in [1e-60, 1e-7, 1e7, 1e300] {
        assert_eq!(refused(stats(vec![far(weight)])), "query_weights");
    }
    assert_eq!(
        refused(stats(vec![histogram("age", 4096); 17])),
        "query_too_many_coordinates"
    );
    assert_eq!(
        refused(stats(vec![mean("age"); MAX_QUERIES + 1])),
        "job_number_out_of_range"
    );
    for change in [
        (|it: &mut Evaluate| it.threshold = Some(1.0)) as fn(&mut Evaluate),
        |it| it.threshold = Some(f64::NAN),
        |it| it.bins = Some(1),
        |it| it.bins = Some(1025),
        |it| it.weights.loss = 0.0,
        |it| it.max_records_per_member = 0,
    ] {
        let mut asked = evaluate();
        change(&mut asked);
        let code = refused(Algorithm::Query(Query::Evaluate(asked)));
        assert_eq!(code, "job_number_out_of_range");
    }
}

#[test]
fn a_column_whose_bounds_are_not_finite_has_no_query() {
    for (center, scale, clip) in [
        (0.0, 1e300, 1e300),
        (f64::MAX, 1e307, 100.0),
        (0.0, 1.0, 1e300),
        (0.0, 1e-200, 1e-200),
    ] {
        let mut document = document(stats(vec![mean("age")]));
        let feature = FeatureSpec::Numeric {
            column: "age".to_owned(),
            center,
            scale,
            clip,
        };
        let target = document.data.target().clone();
        document.data = DataSchema::new(vec![feature], target, MissingValues::Refuse).unwrap();
        let refused = Job::new(document).unwrap_err();
        assert_eq!(
            refused.code(),
            "query_unbounded_column",
            "{center} {scale} {clip}"
        );
    }
}

#[test]
fn a_stats_job_has_no_model_and_an_evaluation_has_one() {
    let mut modelled = document(stats(vec![mean("age")]));
    modelled.model.layers = vec![Layer::Dense { outputs: 1 }];
    assert_eq!(
        Job::new(modelled).unwrap_err().code(),
        "query_needless_model"
    );
    let text = serde_json::to_string(&document(stats(vec![mean("age")]))).unwrap();
    assert!(!text.contains("model"), "{text}");
    let asked = document(Algorithm::Query(Query::Evaluate(evaluate())));
    let text = serde_json::to_string(&asked).unwrap();
    assert!(text.contains("\"layers\""), "{text}");
    let mut without: serde_json::Value = serde_json::from_str(&text).unwrap();
    without.as_object_mut().unwrap().remove("model");
    assert!(serde_json::from_value::<JobDocument>(without).is_err());
}

#[test]
fn a_job_that_asks_survives_its_json_form() {
    let asked = Algorithm::Query(Query::Evaluate(evaluate()));
    for algorithm in [stats(every_kind()), stats(vec![]), asked] {
        let document = document(algorithm);
        let text = serde_json::to_string(&document).unwrap();
        assert_eq!(
            serde_json::from_str::<JobDocument>(&text).unwrap(),
            document
        );
    }
}

#[test]
fn everything_that_is_asked_is_in_the_hash_of_the_job() {
    let mut hashes = std::collections::BTreeSet::new();
    let weighted = StatsQuery::Mean {
        column: "age".to_owned(),
        weight: 2.0,
    };
    let mut heavier = Stats {
        queries: vec![],
        count_weight: 2.0,
        max_records_per_member: 1000,
    };
    let mut asked = vec![
        stats(vec![]),
        stats(vec![mean("age")]),
        stats(vec![mean("pressure")]),
        stats(vec![mean("age"), mean("pressure")]),
        stats(vec![mean("pressure"), mean("age")]),
        stats(vec![weighted]),
        stats(vec![variance("age")]),
        stats(vec![histogram("age", 4)]),
        stats(vec![histogram("age", 5)]),
        stats(vec![quantiles("age", 5, &[0.5])]),
        stats(vec![quantiles("age", 5, &[0.25])]),
        stats(vec![categories("pain")]),
        Algorithm::Query(Query::Stats(heavier.clone())),
    ];
    heavier.max_records_per_member = 999;
    asked.push(Algorithm::Query(Query::Stats(heavier)));
    for change in [
        (|_| ()) as fn(&mut Evaluate),
        |it| it.model_of = JobId::new("job-2").unwrap(),
        |it| it.parameters[31] = 8,
        |it| it.threshold = Some(0.25),
        |it| it.bins = Some(11),
        |it| it.weights.count = 2.0,
        |it| it.weights.confusion = 2.0,
        |it| it.weights.scores = 2.0,
        |it| it.weights.loss = 2.0,
        |it| it.max_records_per_member = 999,
    ] {
        let mut evaluate = evaluate();
        change(&mut evaluate);
        asked.push(Algorithm::Query(Query::Evaluate(evaluate)));
    }
    let all = asked.len();
    for algorithm in asked {
        hashes.insert(*job(algorithm).hash().as_bytes());
    }
    assert_eq!(hashes.len(), all);
}

#[test]
fn a_sum_of_another_length_has_no_report() {
    let job = job(stats(vec![mean("age")]));
    let plan = Plan::derive(&job).unwrap();
    let id = JobId::new("job-2").unwrap();
    let refused = Report::of(&id, &job, &plan, &[0; 3], 4).unwrap_err();
    assert_eq!(refused.code(), "report_wrong_length");
}

#[test]
fn a_heavier_query_has_less_noise_and_the_others_more() {
    let error = |weight| {
        let query = StatsQuery::Mean {
            column: "age".to_owned(),
            weight,
        };
        let job = job(stats(vec![query]));
        let plan = Plan::derive(&job).unwrap();
        let report = report(&job, &plan, &sum_of(&job, &plan, &records()));
        report.records.standard_error.unwrap()
    };
    // Factors of 1/sqrt(2) and of 1/sqrt(5), on plans that differ in nothing else.
    let ratio = error(2.0) / error(1.0);
    assert!((ratio - 2.5_f64.sqrt()).abs() < 1e-6, "{ratio}");
}

proptest! {
    /// The proof of the module's documentation, on whatever a file can hold.
    #[test]
    fn no_record_is_longer_than_the_norm_and_none_is_shortened(
        age in -4_f32..=4.0,
        pressure in -3_f32..=3.0,
        pain in 0_usize..3,
        label in 0_u8..2,
        logit in any::<f32>(),
        weights in prop::collection::vec(1e-3_f64..1e3, 6),
    ) {
        let mut queries = every_kind();
        for (query, new) in queries.iter_mut().zip(&weights) {
            match query {
                StatsQuery::Mean { weight, .. }
                | StatsQuery::Variance { weight, .. }
                | StatsQuery::Histogram { weight, .. }
                | StatsQuery::Quantiles { weight, .. }
                | StatsQuery::Categories { weight, .. } => *weight = *new,
            }
        }
        let record = Record { logit, ..record(age, pain, pressure, label.into()) };
        for job in [job(stats(queries)), job(Algorithm::Query(Query::Evaluate(evaluate())))] {
            let plan = Plan::derive(&job).unwrap();
            let query = job.query().unwrap();
            let mut row = vec![0.0; query.elements()];
            query.record(&record.inputs, record.label, &[record.logit], &mut row);
            let mut integers = vec![0; row.len()];
            let outcome = plan.noise().grid().clip_record(&row, &mut integers);
            let damaged = query.reads_scores() && !logit.is_finite();
            prop_assert_eq!(outcome, if damaged { RecordOutcome::Zeroed } else { RecordOutcome::Kept });
            let norm: f64 = row.iter().map(|value| f64::from(*value).powi(2)).sum();
            prop_assert!(damaged || norm <= 1.0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn number(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_precision_loss, reason = "a variance needs no 53 bits")]
fn f64_of(value: u64) -> f64 {
    value as f64
}

#[expect(clippy::cast_possible_truncation, reason = "noise of some 2^21 units")]
fn whole(value: f64) -> i64 {
    value.round() as i64
}
