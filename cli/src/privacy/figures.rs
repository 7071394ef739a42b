//! `consort privacy epsilon` and `consort privacy sigma`: figures that any other accountant can be held against.

use clap::Args;
use consort_privacy::{
    Accountant, CalibrationError, Delta, Epsilon as Target, PldRefused, SampledTarget, Spend,
    least_sampled_noise_multiplier, spend,
};
use serde_json::{Value, json};

use super::{Sampled, unusable};
use crate::failure::Failure;

/// Steps whose epsilon is asked for.
#[derive(Args)]
pub(crate) struct Epsilon {
    /// Noise multiplier: standard deviation of the noise on a sum, in clip norms
    #[arg(long, value_name = "S", allow_negative_numbers = true)]
    sigma: f64,
    #[command(flatten)]
    sampled: Sampled,
    /// Delta of all steps together: at least 1e-12, below 1
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Epsilon {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (answer, text) = self.answer()?;
        show(self.json, &answer, &text);
        Ok(())
    }

    /// The same answer for programs and for people.
    pub(super) fn answer(&self) -> Result<(Value, String), Failure> {
        let mechanism = self.sampled.mechanism(self.sigma).map_err(unusable)?;
        let delta = Delta::new(self.delta).map_err(unusable)?;
        let spend =
            spend(&[mechanism], delta).map_err(|error| Failure::failed(error.code(), error))?;
        if let Err(refused @ PldRefused::DeltaTooSmall) = spend.pld() {
            return Err(Failure::usage(refused.code(), refused));
        }
        let mut answer = figures(&spend);
        answer["delta"] = json!(self.delta);
        answer["sigma"] = json!(self.sigma);
        self.sampled.describe(&mut answer);
        Ok((answer, figures_text(&spend)))
    }
}

/// An epsilon whose noise is asked for.
#[derive(Args)]
pub(crate) struct Sigma {
    /// Epsilon of all steps together: above 0
    #[arg(long, value_name = "E", allow_negative_numbers = true)]
    epsilon: f64,
    #[command(flatten)]
    sampled: Sampled,
    /// Delta of all steps together: at least 1e-12, below 1
    #[arg(long, value_name = "D", allow_negative_numbers = true)]
    delta: f64,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

impl Sigma {
    pub(crate) fn run(&self) -> Result<(), Failure> {
        let (answer, text) = self.answer()?;
        show(self.json, &answer, &text);
        Ok(())
    }

    /// The same answer for programs and for people.
    pub(super) fn answer(&self) -> Result<(Value, String), Failure> {
        let target = SampledTarget {
            epsilon: Target::new(self.epsilon).map_err(unusable)?,
            delta: Delta::new(self.delta).map_err(unusable)?,
            sampling: self.sampled.rate().map_err(unusable)?,
            steps: self.sampled.steps().map_err(unusable)?,
            relation: self.sampled.relation(),
            truncation: self.sampled.truncation().map_err(unusable)?,
        };
        let by = |accountant| {
            least_sampled_noise_multiplier(&target, accountant).map(|noise| noise.value())
        };
        let (rdp, pld) = (by(Accountant::Rdp), by(Accountant::Pld));
        let refused = |error: CalibrationError| match error {
            CalibrationError::OutOfReach => Failure::refused(error.code(), error),
            CalibrationError::Pld(_) => Failure::usage(error.code(), error),
        };
        // The tight accountant decides what is possible; the integer orders of the other end at some small epsilon.
        let pld = pld.map_err(refused)?;
        let mut answer = json!({
            "rdp": rdp.as_ref().ok(),
            "pld": pld,
            "epsilon": self.epsilon,
            "delta": self.delta,
        });
        self.sampled.describe(&mut answer);
        let mut text = format!("noise multiplier {pld:.6} by privacy loss distributions\n");
        match rdp {
            Ok(rdp) => text += &format!("noise multiplier {rdp:.6} by Rényi divergences\n"),
            Err(error) => {
                answer["rdp_refused"] = json!(error.code());
                text += &format!("none by Rényi divergences: {error}\n");
            }
        }
        Ok((answer, text))
    }
}

fn show(json: bool, answer: &Value, text: &str) {
    if json {
        println!("{answer}");
    } else {
        print!("{text}");
    }
}

/// The figures of all accountants.
pub(super) fn figures(spend: &Spend) -> Value {
    let mut answer = json!({
        "rdp": spend.rdp().value(),
        "pld": spend.pld().ok().map(|epsilon| epsilon.value()),
        "exact": spend.exact().map(|epsilon| epsilon.value()),
        "enforced": spend.enforced().value(),
    });
    if let Err(refused) = spend.pld() {
        answer["pld_refused"] = json!(refused.code());
    }
    answer
}

/// The same for people.
pub(super) fn figures_text(spend: &Spend) -> String {
    let delta = spend.delta();
    let mut text = format!(
        "epsilon {:.6} at delta {delta} binds\n",
        spend.enforced().value()
    );
    if let Some(exact) = spend.exact() {
        text += &format!("  {:.6} exactly (Gaussian curve)\n", exact.value());
    }
    match spend.pld() {
        Ok(pld) => text += &format!("  {:.6} by privacy loss distributions\n", pld.value()),
        Err(refused) => text += &format!("  none by privacy loss distributions: {refused}\n"),
    }
    text + &format!(
        "  {:.6} by Rényi divergences at orders 2 to 256\n",
        spend.rdp().value()
    )
}
