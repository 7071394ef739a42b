//! The largest loss of one record that a loss query counts, which follows from the loss and the number of classes.

use crate::spec::{Loss, ModelSpec};

/// Steps of a cap for classes: every implementation comes to the same one, whatever the last bit of its logarithm.
const STEPS: f64 = 1024.0;

impl Loss {
    /// Largest loss of one record that is counted, for a last layer with so many outputs. Each doubling of it would double the noise on the
    /// reported mean, so it is what a model that knows nothing loses, some three times over:
    /// - classes: 2 nats for two of them, where ignorance costs ln 2 = 0.69, and for K of them 2·log₂ K, in the proportion of ln K to
    ///   ln 2, to the nearest 1024th;
    /// - a number, whose label lies in 0 … 1: 1/2, the loss of one end of the range where the other is true;
    /// - a count: 4. Under the true mean half the deviance is near ½ and passes 4 once in two hundred; counts that spread twice as far as
    ///   Poisson's pass it once in twenty.
    pub fn cap(self, outputs: u32) -> f64 {
        match self {
            Self::BinaryCrossEntropy => 2.0,
            Self::CrossEntropy => {
                let classes = f64::from(outputs.max(2));
                (2.0 * classes.log2() * STEPS).round() / STEPS
            }
            Self::SquaredError => 0.5,
            Self::Poisson => 4.0,
        }
    }
}

impl ModelSpec {
    /// [`Loss::cap`] of this model.
    pub fn loss_cap(&self) -> f64 {
        let last = self.operations().last();
        let outputs = last.map_or(1, |last| last.output.elements());
        let outputs = u32::try_from(outputs).unwrap_or(u32::MAX);
        self.loss().cap(outputs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Layer;

    #[test]
    fn a_cap_is_in_proportion_to_what_ignorance_of_the_classes_costs() {
        assert_eq!(Loss::BinaryCrossEntropy.cap(1), 2.0);
        assert_eq!(Loss::CrossEntropy.cap(2), 2.0);
        assert_eq!(Loss::CrossEntropy.cap(1024), 20.0);
        let ten = Loss::CrossEntropy.cap(10);
        assert_eq!(ten, 6803.0 / 1024.0);
        assert!(ten > 2.0 * 10_f64.ln());
        for outputs in 2..=1024 {
            let exact = 2.0 * f64::from(outputs).ln() / 2_f64.ln();
            assert!((Loss::CrossEntropy.cap(outputs) - exact).abs() <= 0.5 / STEPS);
        }
    }

    #[test]
    fn a_model_has_the_cap_of_its_last_layer() {
        let cap = |outputs, loss| {
            let layers = vec![Layer::Dense { outputs: 7 }, Layer::Dense { outputs }];
            ModelSpec::new(3, layers, loss).unwrap().loss_cap()
        };
        assert_eq!(cap(8, Loss::CrossEntropy), 6.0);
        assert_eq!(cap(1, Loss::SquaredError), 0.5);
        assert_eq!(cap(1, Loss::Poisson), 4.0);
        assert_eq!(ModelSpec::without_layers(3).loss_cap(), 2.0);
    }
}
