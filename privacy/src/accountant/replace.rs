//! Rényi divergence of the replace pair, by quadrature: no closed form is known for two mixtures.

/// Most points per order: a fraction of a second for all orders.
const MAX_POINTS: usize = 60_000;

/// Reach beyond the outermost peak of the integrand, in standard deviations: e^{−12²/2} is 5e-32.
const REACH: f64 = 12.0;

/// ln E_Q[(P/Q)^α] for P = (1 − q)·N(0) + q·N(s) and Q = (1 − q)·N(0) + q·N(−s), at the integer orders.
///
/// The trapezoidal rule converges exponentially here: the integrand is analytic in a strip of half-width π/s around the
/// line, where the mixture Q has its first zeros, and falls like a Gaussian (Trefethen and Weideman, SIAM Review 2014,
/// theorem 5.1). At orders whose peak lies too far out, the divergence without sampling, α·(2s)²/2, is the bound.
pub(super) fn ln_moments(rate: f64, shift: f64, orders: impl Iterator<Item = u32>) -> Vec<f64> {
    let step = (0.15 / shift).min(0.2);
    let low = -REACH - shift;
    let mut points = Vec::<(f64, f64)>::new();
    let mut moments = Vec::new();
    for order in orders {
        let alpha = f64::from(order);
        // P^α·Q^{1−α} peaks between 0 and, without sampling, (2α − 1)·s.
        let wanted = ((2.0 * alpha * shift + REACH - low) / step).ceil();
        if wanted > MAX_POINTS as f64 {
            moments.push((alpha - 1.0) * alpha * 2.0 * shift * shift);
            continue;
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "positive, and at most MAX_POINTS"
        )]
        let wanted = wanted as usize;
        while points.len() < wanted {
            points.push(point(low + points.len() as f64 * step, rate, shift));
        }
        moments.push(ln_moment(&points[..wanted], alpha, step));
    }
    moments
}

/// ln Q and ln P − ln Q.
fn point(at: f64, rate: f64, shift: f64) -> (f64, f64) {
    let half = 0.5 * shift * shift;
    let (up, down) = (
        mixed(rate, shift * at - half),
        mixed(rate, -shift * at - half),
    );
    (super::mills::ln_density(at) + down, up - down)
}

fn ln_moment(points: &[(f64, f64)], alpha: f64, step: f64) -> f64 {
    let exponent = |(ln_q, loss): &(f64, f64)| ln_q + alpha * loss;
    let top = points
        .iter()
        .map(exponent)
        .fold(f64::NEG_INFINITY, f64::max);
    let sum: f64 = points
        .iter()
        .map(|point| (exponent(point) - top).exp())
        .sum();
    let ln_moment = top + (sum * step).ln();
    if ln_moment > 0.1 {
        return ln_moment;
    }
    // Near 1, what exceeds it is summed, so that small divergences keep their digits.
    let excess = points.iter().map(|(ln_q, loss)| {
        let power = alpha * loss;
        // Far out e^power overflows where Q vanishes; their product does not.
        if power > 1.0 {
            (ln_q + power).exp() - ln_q.exp()
        } else {
            ln_q.exp() * power.exp_m1()
        }
    });
    (excess.sum::<f64>() * step).ln_1p()
}

/// ln(1 − q + q·e^y).
fn mixed(rate: f64, exponent: f64) -> f64 {
    if exponent > 30.0 {
        exponent + rate.ln() + ((1.0 - rate) / rate * (-exponent).exp()).ln_1p()
    } else if rate >= 1.0 {
        exponent
    } else {
        (rate * exponent.exp_m1()).ln_1p()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_sampling_it_is_the_gaussian_s_divergence() {
        for shift in [0.01, 0.3, 1.0, 2.5] {
            for (order, moment) in (2..=40).zip(ln_moments(1.0, shift, 2..=40)) {
                let alpha = f64::from(order);
                let expected = alpha * (alpha - 1.0) * 2.0 * shift * shift;
                assert!(
                    (moment / expected - 1.0).abs() < 1e-10,
                    "{shift} {order}: {moment}"
                );
            }
        }
    }

    #[test]
    fn moments_are_those_of_mpmath() {
        for (rate, shift, order, expected) in [
            (
                0.009_377_828_762_531_848,
                0.275_277_3,
                2,
                2.666_195_978_820_007_3e-5,
            ),
            (
                0.009_377_828_762_531_848,
                0.275_277_3,
                55,
                3.967_951_382_634_068e-2,
            ),
            (0.1, 1.5, 3, 0.893_046_979_709_103_4),
        ] {
            // Up to 256, as they are asked for: the far points of the largest order must not disturb the small ones.
            let moment = ln_moments(rate, shift, (2..=256).filter(|o| *o == order || *o == 256))[0];
            assert!(
                (moment / expected - 1.0).abs() < 1e-10,
                "{rate} {shift} {order}: {moment}"
            );
            let all = ln_moments(rate, shift, 2..=256);
            assert!(all.iter().all(|moment| *moment > 0.0) && all.is_sorted());
        }
    }

    #[test]
    fn small_divergences_are_those_of_the_expansion() {
        // To second order in q: A − 1 = α(α − 1)/2·q²·χ², with χ² = ∫(N(s) − N(−s))²/N(0) = 2·(e^{s²} − e^{−s²}).
        let (rate, shift) = (1e-6, 0.7_f64);
        let chi = 2.0 * ((shift * shift).exp() - (-shift * shift).exp());
        for (order, moment) in (2..=6).zip(ln_moments(rate, shift, 2..=6)) {
            let alpha = f64::from(order);
            let expected = 0.5 * alpha * (alpha - 1.0) * rate * rate * chi;
            assert!(
                (moment / expected - 1.0).abs() < 1e-4,
                "{order}: {moment} {expected}"
            );
        }
    }
}
