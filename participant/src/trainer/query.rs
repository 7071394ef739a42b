//! A job that asks, at a site: every record becomes its query vector, and these are added on the grid like gradients.

use consort_contract::QueryVector;
use consort_privacy::{Grid, GridError, RecordCap, RecordOutcome, RecordSum};
use consort_training::ClippedSum;
use zeroize::Zeroizing;

use crate::data::DataSet;

/// Adds up the records' vectors. `outputs` has the model's for each record, one record after the other, and nothing where none are
/// asked for.
///
/// # Errors
/// [`GridError`] if the records pass the cap.
pub(super) fn sum(
    query: &QueryVector,
    data: &DataSet,
    outputs: &[f32],
    (grid, cap): (Grid, RecordCap),
) -> Result<ClippedSum, GridError> {
    let elements = query.elements();
    let mut summed = ClippedSum {
        sum: RecordSum::new(grid, cap, elements),
        clipped: 0,
        zeroed: 0,
    };
    let mut row = Zeroizing::new(vec![0.0; elements]);
    let records = data.features().chunks_exact(data.inputs());
    let width = outputs.len() / data.records().max(1);
    for (record, (inputs, label)) in records.zip(data.labels()).enumerate() {
        let outputs = &outputs[record * width..][..width];
        query.record(inputs, *label, outputs, &mut row);
        match summed.sum.add_record(&row)? {
            RecordOutcome::Kept => {}
            RecordOutcome::Clipped => summed.clipped += 1,
            RecordOutcome::Zeroed => summed.zeroed += 1,
        }
    }
    Ok(summed)
}
