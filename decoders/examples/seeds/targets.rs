//! Jobs whose target is no binary one, each trained and evaluated.

use consort_contract::job::{JobDocument, ModelDocument};
use consort_contract::target_fit::loss_of;
use consort_contract::{Algorithm, DataSchema, Evaluate, Query, TargetKind, TargetSpec};
use consort_model::Layer;

/// From a job with a binary target, and an evaluation.
pub(super) fn documents(
    small: &JobDocument,
    evaluate: &Evaluate,
) -> Vec<(&'static str, JobDocument)> {
    let names = ["setosa", "versicolor", "3"].map(str::to_owned).into();
    let (least, most) = (25.0, 346.0);
    [
        ("classes", "evaluate-classes", TargetKind::Classes { names }),
        (
            "number",
            "evaluate-number",
            TargetKind::Number { least, most },
        ),
        ("count", "evaluate-count", TargetKind::Count { most: 50 }),
    ]
    .into_iter()
    .flat_map(|(trained, asked, kind)| {
        let training = of(small, kind);
        let evaluating = JobDocument {
            algorithm: Algorithm::Query(Query::Evaluate(Evaluate {
                threshold: None,
                bins: None,
                ..evaluate.clone()
            })),
            ..training.clone()
        };
        [(trained, training), (asked, evaluating)]
    })
    .collect()
}

fn of(small: &JobDocument, kind: TargetKind) -> JobDocument {
    let outputs = match kind {
        TargetKind::Classes { .. } => 3,
        TargetKind::Binary { .. } | TargetKind::Number { .. } | TargetKind::Count { .. } => 1,
    };
    let loss = loss_of(&kind);
    let target = TargetSpec {
        column: small.data.target().column.clone(),
        kind,
    };
    let features = small.data.features().to_vec();
    JobDocument {
        data: DataSchema::new(features, target, small.data.missing()).unwrap(),
        model: ModelDocument {
            layers: vec![Layer::Dense { outputs }],
            loss,
            seed: small.model.seed,
        },
        ..small.clone()
    }
}
