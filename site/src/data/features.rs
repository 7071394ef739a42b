//! One field of a row becomes inputs or a label.

use consort_contract::features::{FeatureSpec, Label, NoLabel, TargetSpec, same_level};

/// Why a field cannot be used; the caller knows the file and the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FieldFault {
    /// Empty, or `?`.
    Missing,
    /// Not a finite number.
    NotANumber,
    /// None of the levels or classes.
    UnknownLevel,
    /// Not an integer from 0.
    NotACount,
}

/// Appends the inputs of one feature.
pub(super) fn push_inputs(
    spec: &FeatureSpec,
    field: &str,
    inputs: &mut Vec<f32>,
) -> Result<(), FieldFault> {
    let field = present(field)?;
    match spec {
        FeatureSpec::Numeric {
            center,
            scale,
            clip,
            ..
        } => inputs.push(scaled(number(field)?, *center, *scale, *clip)?),
        FeatureSpec::OneHot { levels, .. } => {
            let level = levels
                .iter()
                .position(|level| same_level(level, field))
                .ok_or(FieldFault::UnknownLevel)?;
            inputs.extend((1..levels.len()).map(|index| if index == level { 1.0 } else { -1.0 }));
        }
    }
    Ok(())
}

/// The label.
pub(super) fn label(spec: &TargetSpec, field: &str) -> Result<Label, FieldFault> {
    spec.kind
        .label(present(field)?)
        .map_err(|fault| match fault {
            NoLabel::NotANumber => FieldFault::NotANumber,
            NoLabel::UnknownClass => FieldFault::UnknownLevel,
            NoLabel::NotACount => FieldFault::NotACount,
        })
}

fn present(field: &str) -> Result<&str, FieldFault> {
    match field {
        "" | "?" => Err(FieldFault::Missing),
        field => Ok(field),
    }
}

fn number(field: &str) -> Result<f64, FieldFault> {
    field
        .parse()
        .ok()
        .filter(|number: &f64| number.is_finite())
        .ok_or(FieldFault::NotANumber)
}

/// The limit comes last, so that a huge but finite quotient is the limit and not an infinity.
fn scaled(value: f64, center: f64, scale: f64, clip: f64) -> Result<f32, FieldFault> {
    let input = ((value - center) / scale).clamp(-clip, clip);
    #[expect(
        clippy::cast_possible_truncation,
        reason = "inputs are f32; a value that leaves its range is refused below"
    )]
    let input = input as f32;
    if input.is_finite() {
        Ok(input)
    } else {
        Err(FieldFault::NotANumber)
    }
}
