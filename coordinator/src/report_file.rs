//! The file in which the answer of a job that asks is handed over, and the noised sum from which it is made.

use consort_contract::Report;
use consort_contract::query::ReportError;

use crate::jobs::Contract;

/// The released file: the report as JSON.
///
/// # Errors
/// [`ReportError`] when the sum is not that of the contract's query.
pub(crate) fn write(
    contract: &Contract,
    sum: &[i64],
    survivors: u32,
) -> Result<Vec<u8>, ReportError> {
    let report = Report::of(&contract.id, &contract.job, &contract.plan, sum, survivors)?;
    let mut text =
        serde_json::to_vec_pretty(&report).expect("a report holds nothing that JSON cannot hold");
    text.push(b'\n');
    Ok(text)
}

/// A noised sum as it is stored between the round and the report: 8 bytes for each element, little-endian.
pub(crate) fn sum_to_bytes(sum: &[i64]) -> Vec<u8> {
    sum.iter().flat_map(|value| value.to_le_bytes()).collect()
}

/// Reads what [`sum_to_bytes`] wrote; nothing if it is of another length.
pub(crate) fn sum_from_bytes(bytes: &[u8]) -> Option<Vec<i64>> {
    let (values, rest) = bytes.as_chunks::<8>();
    let read = || values.iter().map(|value| i64::from_le_bytes(*value));
    rest.is_empty().then(|| read().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_survives_its_bytes_and_a_cut_one_is_none() {
        let sum = [0, -1, i64::MAX, i64::MIN];
        let bytes = sum_to_bytes(&sum);
        assert_eq!(sum_from_bytes(&bytes).unwrap(), sum);
        assert_eq!(sum_from_bytes(&bytes[1..]), None);
    }
}
