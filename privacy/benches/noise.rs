//! Nanoseconds for a draw of noise: `cargo bench -p consort-privacy --bench noise`.

use std::time::Instant;

use consort_privacy::{DiscreteGaussian, NoiseError, NoiseVariance};
use rand_chacha::ChaCha20Rng;
use rand_core::SeedableRng;

const DRAWS: u32 = 10_000_000;

fn main() -> Result<(), NoiseError> {
    let mut rng = ChaCha20Rng::seed_from_u64(1);
    let noise = DiscreteGaussian::new(NoiseVariance::new((1 << 47) + 12_345)?);
    let started = Instant::now();
    let mut sum = 0_i64;
    for _ in 0..DRAWS {
        sum = sum.wrapping_add(noise.sample(&mut rng)?);
    }
    let each = started.elapsed().as_secs_f64() * 1e9 / f64::from(DRAWS);
    println!("{each:.1} ns a draw ({sum})");
    Ok(())
}
