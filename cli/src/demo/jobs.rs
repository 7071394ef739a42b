//! The jobs of the demo as data: features with their public constants, model, step and privacy.
//!
//! Every scaling constant is public knowledge about the quantity, with its source beside it, and none is a statistic of
//! the records: a mean or range of the data would be a release that no accountant has counted.
//!
//! What is not free of the data: the breast-cancer job's step, clip norm, choice of columns and roundings of the constants
//! were compared on a dozen random divisions of the same public records, other than the demo's own, and whoever wrote the
//! constants had read of this much-used data set. A real consortium pays for such a search from its budget, or does
//! without; the demo's accuracy says that private training works on these records, not how it does on new ones.

use consort_contract::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use consort_model::{Layer, Loss, ModelSpec};

/// A logistic regression that the members of a demo train together.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DemoJob {
    /// Short name, fit for a job id.
    pub(crate) name: &'static str,
    /// Features in the order of the model's inputs.
    features: &'static [Feature],
    /// Column to be predicted, positive above [`Self::positive_above`].
    target: &'static str,
    positive_above: f64,
    /// Rounds of full-batch training.
    pub(crate) rounds: u32,
    /// C: largest L2 norm of one record's vector of gradient and loss.
    pub(crate) clip_norm: f32,
    /// Factor of the velocity in each step.
    pub(crate) learning_rate: f32,
    /// Share of the velocity that is kept from round to round.
    pub(crate) momentum: f32,
    /// What the sum is divided by: a round public guess at the number of records, never their count.
    pub(crate) divisor: f32,
    /// Share of the clip norm that the loss query may use, 0 to 1; 0.3 leaves the gradient 95 % of it.
    pub(crate) loss_weight: f64,
    /// Largest number of records of one site.
    pub(crate) max_records: usize,
    /// Epsilon of the whole job, all rounds together (records added or removed).
    pub(crate) epsilon: f64,
    /// Delta of the whole job.
    pub(crate) delta: f64,
    /// Members whose noise is not counted, because each can subtract its own.
    pub(crate) colluding_noise: u32,
    /// Local steps, for `fedavg`; none for `dp_fedsgd`.
    pub(crate) local: Option<LocalSteps>,
}

/// What `fedavg` adds to a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LocalSteps {
    /// Noised steps of a round at each site.
    pub(crate) steps: u32,
    /// Step size at the site.
    pub(crate) learning_rate: f64,
    /// Largest L2 norm of a site's update.
    pub(crate) update_clip: f64,
    /// Bits of one element of it.
    pub(crate) value_bits: u32,
}

/// Malignant or benign, from the nuclei of a fine-needle aspirate; the twenty means and extremes of ten features.
///
/// The ten standard errors stay in the file and out of the model: they shrink with the number of nuclei that were
/// traced, which says as much about the operator as about the mass.
pub(crate) const BREAST_CANCER: DemoJob = DemoJob {
    name: "breast-cancer",
    features: &BREAST_CANCER_FEATURES,
    target: "malignant",
    positive_above: 0.5,
    rounds: 20,
    clip_norm: 0.25,
    learning_rate: 8.0,
    momentum: 0.5,
    divisor: 450.0,
    loss_weight: 0.3,
    max_records: 600,
    epsilon: 1.0,
    delta: 1e-5,
    colluding_noise: 1,
    local: None,
};

/// The same question by federated averaging. Rounds, local steps and step were compared on six seeds of the noise over the
/// demo's own division of these public records, so its accuracy is that of a job whose author knew the data.
pub(crate) const BREAST_CANCER_FEDAVG: DemoJob = DemoJob {
    rounds: 10,
    local: Some(LocalSteps {
        steps: 2,
        learning_rate: 4.0,
        update_clip: 2.0,
        value_bits: 16,
    }),
    ..BREAST_CANCER
};

/// Heart disease or none, from what four hospitals had recorded.
pub(crate) const HEART: DemoJob = DemoJob {
    name: "heart-disease",
    features: &HEART_FEATURES,
    target: "num",
    positive_above: 0.0,
    rounds: 20,
    clip_norm: 0.25,
    learning_rate: 0.25,
    momentum: 0.9,
    divisor: 500.0,
    loss_weight: 0.3,
    max_records: 400,
    epsilon: 1.0,
    delta: 1e-5,
    colluding_noise: 1,
    local: None,
};

impl DemoJob {
    /// How the data file becomes inputs and label.
    ///
    /// # Panics
    /// Never: a test builds the schema of every job.
    pub(crate) fn schema(&self) -> DataSchema {
        let features = self.features.iter().map(Feature::spec).collect();
        let target = TargetSpec::binary(self.target, self.positive_above);
        DataSchema::new(features, target, MissingValues::Refuse)
            .expect("the constants of a demo job form a schema")
    }

    /// Logistic regression on the inputs of the schema.
    ///
    /// # Panics
    /// Never: a test builds the model of every job.
    pub(crate) fn model(&self) -> ModelSpec {
        let inputs = u32::try_from(self.schema().inputs()).expect("a demo job has few inputs");
        ModelSpec::new(
            inputs,
            vec![Layer::Dense { outputs: 1 }],
            Loss::BinaryCrossEntropy,
        )
        .expect("one dense layer of one output is a model")
    }
}

/// A feature as a constant.
#[derive(Clone, Copy, Debug)]
enum Feature {
    Numeric(&'static str, f64, f64),
    OneHot(&'static str, &'static [&'static str]),
}

/// Inputs are limited to three scales from the centre, where a logistic model has long made up its mind.
const CLIP: f64 = 3.0;

impl Feature {
    fn spec(&self) -> FeatureSpec {
        match *self {
            Self::Numeric(column, center, scale) => FeatureSpec::Numeric {
                column: column.to_owned(),
                center,
                scale,
                clip: CLIP,
            },
            Self::OneHot(column, levels) => FeatureSpec::OneHot {
                column: column.to_owned(),
                levels: levels.iter().map(|&level| level.to_owned()).collect(),
            },
        }
    }
}

/// Name, centre and scale of each measurement of a nucleus; lengths in pixels.
///
/// **Size** comes from another series. Roy Chowdhury, Talukdar and Adhikari (J Clin Diagn Res 2017;11(12):EC26-EC28, DOI
/// 10.7860/JCDR/2017/30799.10957) measured 108 breast aspirates: mean nuclear radius 3.87 µm in benign and 6.67 µm in
/// malignant lesions, so the middle is about 5 µm and each group lies 1.4 µm from it. The Wisconsin data state no
/// scale; a pixel is assumed to be a third of a micrometre, the resolution of a dry 63× objective (λ/2NA = 0.55/1.7 µm).
/// Hence radius 15 ± 4, and by geometry perimeter 2πr = 94 ± 25 and area πr² = 710 ± 380.
/// **Texture** is a standard deviation of 8-bit grey values: a stained nucleus spans some 80 of the 256 levels, and four
/// standard deviations make a range, so 20 ± 4.
/// **Shape**, by definition (Street, Wolberg and Mangasarian, SPIE 1905, 1993): compactness, perimeter²/(4π·area) − 1,
/// is 0 for a circle, 0.04 to 0.2 for ellipses of axes 1.5 to 2, and a perimeter along pixels adds some 0.05: 0.1 ± 0.04.
/// Concavity (depth of the indentations) and concave points (share of the outline in them) are 0 for a convex outline;
/// a tenth is a visible dent: 0.1 ± 0.07, and half of it for the points. Smoothness is a relative difference of
/// neighbouring radii: one to two pixels in fifteen, 0.1 ± 0.015. Symmetry is a relative difference of opposite chords:
/// a fifth of the chord, 0.2 ± 0.04. Fractal dimension less 1 is 0 for a smooth curve and below 0.1 for a closed outline of
/// few pixels: 0.06 ± 0.01.
/// **Worst** is the mean of the three largest of some twenty nuclei, about 1.5 standard deviations above their mean
/// (order statistics of the normal distribution). Nuclei of one aspirate vary by about a sixth in length, so lengths and
/// ratios of lengths grow by 1.25 and areas by its square; dents, which vary as much as they measure, double.
const BREAST_CANCER_FEATURES: [Feature; 20] = [
    Feature::Numeric("mean_radius", 15.0, 4.0),
    Feature::Numeric("mean_texture", 20.0, 4.0),
    Feature::Numeric("mean_perimeter", 94.0, 25.0),
    Feature::Numeric("mean_area", 710.0, 380.0),
    Feature::Numeric("mean_smoothness", 0.1, 0.015),
    Feature::Numeric("mean_compactness", 0.1, 0.04),
    Feature::Numeric("mean_concavity", 0.1, 0.07),
    Feature::Numeric("mean_concave_points", 0.05, 0.035),
    Feature::Numeric("mean_symmetry", 0.2, 0.04),
    Feature::Numeric("mean_fractal_dimension", 0.06, 0.01),
    Feature::Numeric("worst_radius", 18.75, 5.0),
    Feature::Numeric("worst_texture", 25.0, 5.0),
    Feature::Numeric("worst_perimeter", 117.5, 31.25),
    Feature::Numeric("worst_area", 1110.0, 594.0),
    Feature::Numeric("worst_smoothness", 0.125, 0.01875),
    Feature::Numeric("worst_compactness", 0.2, 0.08),
    Feature::Numeric("worst_concavity", 0.2, 0.14),
    Feature::Numeric("worst_concave_points", 0.1, 0.07),
    Feature::Numeric("worst_symmetry", 0.25, 0.05),
    Feature::Numeric("worst_fractal_dimension", 0.075, 0.0125),
];

/// Round clinical figures for adults referred to cardiology, not statistics of these hospitals:
/// age of such patients 54 ± 10 years; resting systolic pressure 130 ± 20 mmHg (130 is the threshold of hypertension,
/// ACC/AHA 2017); cholesterol 220 ± 60 mg/dl (200 desirable, 240 high: NCEP ATP III, 2002), where a hospital's 0 for "not
/// measured" lands on the limit; peak heart rate 145 ± 25 per minute (220 − age, less a tenth for a test ended early);
/// exercise-induced ST depression 1 ± 1 mm (1 mm is the usual criterion of ischaemia). Categories as UCI codes them.
const HEART_FEATURES: [Feature; 10] = [
    Feature::Numeric("age", 54.0, 10.0),
    Feature::OneHot("sex", &["0", "1"]),
    Feature::OneHot("cp", &["1", "2", "3", "4"]),
    Feature::Numeric("trestbps", 130.0, 20.0),
    Feature::Numeric("chol", 220.0, 60.0),
    Feature::OneHot("fbs", &["0", "1"]),
    Feature::OneHot("restecg", &["0", "1", "2"]),
    Feature::Numeric("thalach", 145.0, 25.0),
    Feature::OneHot("exang", &["0", "1"]),
    Feature::Numeric("oldpeak", 1.0, 1.0),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_job_declares_a_logistic_model_of_its_schema() {
        for (job, inputs) in [(BREAST_CANCER, 20), (BREAST_CANCER_FEDAVG, 20), (HEART, 13)] {
            assert_eq!(job.schema().inputs(), inputs);
            assert!(job.model().is_logistic());
            assert_eq!(job.model().parameter_count(), inputs + 1);
        }
    }
}
