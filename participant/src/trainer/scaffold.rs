//! SCAFFOLD at a site: what its steps are corrected by, and the control that they leave.

use consort_contract::Averaging;
use consort_site::control::SiteControl;
use zeroize::Zeroizing;

use super::TrainingFault;
use super::fedavg::ensure_finite;

/// What a site brings to a round: c of all, which the round announces, and its own c_i, zeros before its first.
#[derive(Clone)]
pub struct Controls {
    own: Zeroizing<Vec<f32>>,
    correction: Zeroizing<Vec<f32>>,
}

impl Controls {
    /// c − c_i is added to each step's mean gradient (Karimireddy et al. 2020, algorithm 1, line 10).
    pub(crate) fn new(all: &[f32], own: Option<Zeroizing<Vec<f32>>>) -> Self {
        let own = own.unwrap_or_else(|| Zeroizing::new(vec![0.0; all.len()]));
        let pairs = all.iter().zip(own.iter());
        let correction = Zeroizing::new(pairs.map(|(all, own)| all - own).collect());
        Self { own, correction }
    }

    pub(super) fn correction(&self) -> &[f32] {
        &self.correction
    }

    /// The control that a round leaves: c_i − c − Δy/(K·η_l) (line 12, option II), with the update as it is clipped for the average,
    /// which the server makes c of.
    ///
    /// # Errors
    /// [`TrainingFault::Diverged`] if it is not finite.
    pub(super) fn after(
        self,
        model: [u8; 32],
        moved: impl Iterator<Item = f32> + Clone,
        averaging: &Averaging,
        round: u32,
    ) -> Result<SiteControl, TrainingFault> {
        let square = |value: f32| f64::from(value).powi(2);
        let length = moved.clone().map(square).sum::<f64>().sqrt();
        let factor = (averaging.update_clip() / length.max(f64::MIN_POSITIVE)).min(1.0);
        let way = f64::from(averaging.local_way(round));
        let pairs = moved.zip(self.correction.iter());
        let after = pairs.map(|(moved, corrected)| {
            narrow(-f64::from(*corrected) - f64::from(moved) * factor / way)
        });
        let after: Zeroizing<Vec<f32>> = Zeroizing::new(after.collect());
        ensure_finite(&after)?;
        Ok(SiteControl::around(model, self.own, after))
    }
}

/// Shows the length only.
impl std::fmt::Debug for Controls {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Controls({} values)", self.own.len())
    }
}

#[expect(
    clippy::cast_possible_truncation,
    reason = "a control has the precision of the model"
)]
fn narrow(value: f64) -> f32 {
    value as f32
}
