//! Four agents at jobs that ask.

use consort_contract::job::ModelDocument;
use consort_contract::query::{Answer, ColumnAnswer, Estimate};
use consort_contract::{Evaluate, EvaluateWeights, JobKind, Query, Report, Stats, StatsQuery};
use consort_privacy::{Delta, spend};

use super::*;

fn stats() -> Stats {
    let column = || "x".to_owned();
    Stats {
        queries: vec![
            StatsQuery::Mean {
                column: column(),
                weight: 1.0,
            },
            StatsQuery::Categories {
                column: "y".to_owned(),
                weight: 1.0,
            },
        ],
        count_weight: 1.0,
        max_records_per_member: 100,
    }
}

fn asking() -> (Job, Plan) {
    job_of(|document| {
        document.model = ModelDocument::none();
        document.algorithm = Algorithm::Query(Query::Stats(stats()));
    })
}

fn evaluating(parameters: &Parameters) -> (Job, Plan) {
    job_of(|document| {
        document.algorithm = Algorithm::Query(Query::Evaluate(Evaluate {
            model_of: consort_contract::JobId::new("job-0").unwrap(),
            parameters: *parameters.hash().as_bytes(),
            threshold: 0.5,
            bins: 4,
            weights: EvaluateWeights::default(),
            max_records_per_member: 100,
        }));
    })
}

/// Five of its standard errors: one honest run in two million is farther off.
fn near(estimate: Estimate, expected: f64) {
    let (value, error) = (estimate.value.unwrap(), estimate.standard_error.unwrap());
    assert!(
        (value - expected).abs() < 5.0 * error,
        "{estimate:?}, not {expected}"
    );
}

#[test]
fn four_agents_answer_a_stats_job_in_one_round_and_pay_for_it_once() {
    let mut world = World::approved_on(asking());
    let nothing = world.initial();
    assert!(nothing.as_slice().is_empty());
    let open = world.open(1, 1, &nothing);
    let sum = world.play(&open, &nothing, &[1, 2, 3, 4]);
    let report = Report::of(&job_id(), &world.job, &world.plan, sum.values(), 4).unwrap();
    let each = RECORDS.lines().count() - 1;
    let records = 4.0 * f64::from(u32::try_from(each).unwrap());
    near(report.records, records);
    let Answer::Stats(answers) = &report.answers else {
        panic!("{report:?}")
    };
    let ColumnAnswer::Categories {
        counts,
        standard_error,
        ..
    } = &answers[1]
    else {
        panic!("{answers:?}")
    };
    let ill = RECORDS.lines().skip(1).filter(|line| line.ends_with('1'));
    let ill = 4.0 * f64::from(u32::try_from(ill.count()).unwrap());
    assert!(
        (counts[1] - ill).abs() < 5.0 * standard_error,
        "{counts:?}, not {ill}"
    );

    let delta = Delta::new(1e-5).unwrap();
    let price = spend(&[world.plan.noise().round_mechanism()], delta).unwrap();
    assert_eq!(report.epsilon, price.enforced().value());
    for i in 1..=MEMBERS {
        assert_eq!(world.entries(i), 1);
        let dataset = &world.job.document().dataset;
        assert_eq!(world.agents[&i].ledger().spent(dataset), price.enforced());
    }
}

#[test]
fn four_agents_evaluate_the_model_that_the_contract_names() {
    let (job, _) = job();
    let model = Parameters::new(job.model(), vec![4.0, -1.0]).unwrap();
    let mut world = World::approved_on(evaluating(&model));
    let open = world.open(1, 1, &model);
    // The parameters do not follow from the contract: every member fetches them.
    let effects = world.say(1, announcement(&open));
    assert!(
        matches!(effects.as_slice(), [Effect::FetchModel { .. }]),
        "{effects:?}"
    );
    let sum = world.play(&open, &model, &[1, 2, 3, 4]);
    let report = Report::of(&job_id(), &world.job, &world.plan, sum.values(), 4).unwrap();
    let each = RECORDS.lines().count() - 1;
    near(
        report.records,
        4.0 * f64::from(u32::try_from(each).unwrap()),
    );
    assert_eq!(report.parameters, Some(model.hash().to_string()));
    assert_eq!(world.entries(1), 1);
}

/// Breaks R3.
#[test]
fn another_model_than_the_contract_names_is_neither_fetched_nor_evaluated() {
    let (job, _) = job();
    let named = Parameters::new(job.model(), vec![4.0, -1.0]).unwrap();
    let mut world = World::approved_on(evaluating(&named));
    let other = Parameters::new(job.model(), vec![4.0, 1.0]).unwrap();
    for model in [other, world.initial()] {
        let open = world.open(1, 1, &model);
        assert!(world.say(1, announcement(&open)).is_empty());
    }
    // The named hash, and other bytes.
    let open = world.open(1, 1, &named);
    let Some(Effect::FetchModel { agreed, .. }) = world.say(1, announcement(&open)).pop() else {
        panic!("the model is fetched")
    };
    let forged = Parameters::new(job.model(), vec![4.0, 1.0]).unwrap();
    let input = Input::Model {
        job: job_id(),
        model: model_digest(&named),
        arrived: arrived(&agreed.0, &forged.to_le_bytes()),
    };
    assert!(
        world
            .agents
            .get_mut(&1)
            .unwrap()
            .handle(input)
            .unwrap()
            .is_empty()
    );
    assert_eq!(world.entries(1), 0);
}

/// Breaks R2e.
#[test]
fn a_second_round_of_a_job_that_asks_is_refused() {
    let mut world = World::approved_on(asking());
    let nothing = world.initial();
    let open = world.open(2, 1, &nothing);
    assert!(world.say(1, announcement(&open)).is_empty());
}

/// Breaks R2a.
#[test]
fn a_round_that_asks_otherwise_than_was_voted_on_is_refused() {
    let mut world = World::approved_on(asking());
    let nothing = world.initial();
    let good = world.open(1, 1, &nothing);
    let changes: [fn(&mut Stats); 3] = [
        |asked| asked.queries.truncate(1),
        |asked| asked.count_weight = 2.0,
        |asked| asked.max_records_per_member = 200,
    ];
    for change in changes {
        let mut asked = stats();
        change(&mut asked);
        let (job, plan) = job_of(|document| {
            document.model = ModelDocument::none();
            document.algorithm = Algorithm::Query(Query::Stats(asked));
        });
        let mut terms = good.terms.clone();
        terms.contract = plan.contract_hash(&job);
        let other = RoundOpen::new(terms, &coordinator());
        assert!(world.say(1, announcement(&other)).is_empty());
    }
    assert_eq!(world.say(1, announcement(&good)).len(), 2);
}

#[test]
fn a_site_that_allows_training_alone_votes_no_to_a_job_that_asks() {
    let (folder, path) = data_file(RECORDS);
    let mut site = site(1, &path);
    site.consent.kinds = vec![JobKind::Training, JobKind::Evaluate];
    let records = Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>;
    let mut agent = agent(site, &records);
    let (job, plan) = asking();
    let event = Event::Proposal(proposal(&job, &plan));
    let vote = vote_of(&agent.handle(Input::Said(Box::new(event))).unwrap());
    assert!(!vote.approve);
    assert!(vote.reason.contains("stats job"), "{}", vote.reason);
    drop(folder);
}

#[test]
fn a_site_without_a_record_votes_no_to_a_job_that_asks() {
    let (folder, path) = data_file("x,y\n");
    let records = Arc::new(MemoryStore::new()) as Arc<dyn RecordStore>;
    let mut agent = agent(site(1, &path), &records);
    let (job, plan) = asking();
    let event = Event::Proposal(proposal(&job, &plan));
    let vote = vote_of(&agent.handle(Input::Said(Box::new(event))).unwrap());
    assert!(
        !vote.approve && vote.reason.contains("record"),
        "{}",
        vote.reason
    );
    drop(folder);
}
