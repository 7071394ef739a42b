//! The target of a data schema.

use consort_contract::{TargetKind, TargetSpec};

use super::WireError;
use crate::wire::job::v1 as wire;
use crate::wire::job::v1::target_spec::Kind;

pub(super) fn target_to_wire(target: &TargetSpec) -> wire::TargetSpec {
    let (positive_above, kind) = match &target.kind {
        TargetKind::Binary { positive_above } => (*positive_above, None),
        TargetKind::Classes { names } => {
            let names = names.clone();
            (0.0, Some(Kind::Classes(wire::ClassesTarget { names })))
        }
        TargetKind::Number { least, most } => {
            let (least, most) = (*least, *most);
            (0.0, Some(Kind::Number(wire::NumberTarget { least, most })))
        }
        TargetKind::Count { most } => (0.0, Some(Kind::Count(wire::CountTarget { most: *most }))),
    };
    wire::TargetSpec {
        column: target.column.clone(),
        positive_above,
        kind,
    }
}

/// The data schema checks what it says.
pub(super) fn target_from_wire(target: wire::TargetSpec) -> Result<TargetSpec, WireError> {
    let positive_above = target.positive_above;
    if target.kind.is_some() && positive_above != 0.0 {
        return Err(WireError::invalid(
            "spec.data.target.positive_above",
            "only a target without a kind has it",
        ));
    }
    let kind = match target.kind {
        None => TargetKind::Binary { positive_above },
        Some(Kind::Classes(wire::ClassesTarget { names })) => TargetKind::Classes { names },
        Some(Kind::Number(wire::NumberTarget { least, most })) => {
            TargetKind::Number { least, most }
        }
        Some(Kind::Count(wire::CountTarget { most })) => TargetKind::Count { most },
    };
    Ok(TargetSpec {
        column: target.column,
        kind,
    })
}
