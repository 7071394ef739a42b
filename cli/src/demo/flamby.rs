//! FLamby's own division of a hospital's records into training and test, reproduced exactly.
//!
//! FLamby (Ogier du Terrail et al., NeurIPS 2022; `flamby/datasets/fed_heart_disease/dataset.py`) calls scikit-learn's
//! `train_test_split` with 66 % to train on and `random_state=43` for each hospital, stratified when both classes have
//! more than two records. Using the same test rows makes the demo's accuracies comparable with the published ones, and
//! leaves no seed to choose.

/// FLamby's `random_state`.
const SEED: u32 = 43;

/// FLamby's `train_fraction`, in percent.
const TRAIN_PERCENT: usize = 66;

/// A class as small as this is not stratified.
const TOO_FEW_TO_STRATIFY: usize = 2;

/// Positions of the records to train on and of those to test on, each ascending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Records to train on.
    pub(crate) train: Vec<usize>,
    /// Records to test on.
    pub(crate) test: Vec<usize>,
}

/// Divides records with these labels, in the order of FLamby's file.
pub(crate) fn split(labels: &[bool]) -> Split {
    let mut rng = MersenneTwister::new(SEED);
    let (train_size, test_size) = sizes(labels.len());
    let classes: Vec<Vec<usize>> = [false, true]
        .iter()
        .map(|class| {
            (0..labels.len())
                .filter(|&row| labels[row] == *class)
                .collect()
        })
        .collect();
    let stratified = classes
        .iter()
        .all(|class| class.len() > TOO_FEW_TO_STRATIFY);
    let (mut train, mut test) = (Vec::new(), Vec::new());
    if stratified {
        let share = proportional(train_size, classes[0].len(), classes[1].len());
        for (class, share) in classes.iter().zip([share, train_size - share]) {
            let order = rng.permutation(class.len());
            let picked = order.iter().map(|&place| class[place]);
            train.extend(picked.clone().take(share));
            test.extend(picked.skip(share));
        }
    } else {
        // scikit-learn's ShuffleSplit takes the test rows first.
        let order = rng.permutation(labels.len());
        test.extend(&order[..test_size]);
        train.extend(&order[test_size..test_size + train_size]);
    }
    train.sort_unstable();
    test.sort_unstable();
    Split { train, test }
}

/// Rows to train on (rounded down) and to test on (rounded up).
fn sizes(rows: usize) -> (usize, usize) {
    let train = rows * TRAIN_PERCENT / 100;
    (train, rows - train)
}

/// How many of `draws` come from the first of two classes: scikit-learn's `_approximate_mode`. None of the four
/// hospitals has equal remainders, for which it would draw lots.
fn proportional(draws: usize, first: usize, second: usize) -> usize {
    let total = first + second;
    let remainder = |class: usize| class * draws % total;
    first * draws / total + usize::from(remainder(first) > remainder(second))
}

/// The generator behind NumPy's `RandomState` (Matsumoto and Nishimura 1998, MT19937). For reproducing a published
/// division only: it is no source of noise or keys.
struct MersenneTwister {
    state: [u32; STATE_WORDS],
    next: usize,
}

const STATE_WORDS: usize = 624;
const SHIFT_WORDS: usize = 397;

impl MersenneTwister {
    /// `init_genrand` of the authors' reference code.
    fn new(seed: u32) -> Self {
        let mut state = [seed; STATE_WORDS];
        for (index, word) in (1..STATE_WORDS).zip(1_u32..) {
            let before = state[index - 1];
            state[index] = (before ^ (before >> 30))
                .wrapping_mul(1_812_433_253)
                .wrapping_add(word);
        }
        Self {
            state,
            next: STATE_WORDS,
        }
    }

    fn next_u32(&mut self) -> u32 {
        if self.next == STATE_WORDS {
            self.twist();
        }
        let mut word = self.state[self.next];
        self.next += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    fn twist(&mut self) {
        for index in 0..STATE_WORDS {
            let joined = (self.state[index] & 0x8000_0000)
                | (self.state[(index + 1) % STATE_WORDS] & 0x7fff_ffff);
            let odd = if joined & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[index] =
                self.state[(index + SHIFT_WORDS) % STATE_WORDS] ^ (joined >> 1) ^ odd;
        }
        self.next = 0;
    }

    /// A number from 0 to `max`, by rejection under the smallest mask: NumPy's `random_interval`.
    fn up_to(&mut self, max: u32) -> u32 {
        let mask = u32::MAX.checked_shr(max.leading_zeros()).unwrap_or(0);
        loop {
            let value = self.next_u32() & mask;
            if value <= max {
                return value;
            }
        }
    }

    /// NumPy's `RandomState.permutation`.
    fn permutation(&mut self, length: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..length).collect();
        for (last, max) in (0..length)
            .zip(0_u32..)
            .skip(1)
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            order.swap(last, self.up_to(max) as usize);
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generator_gives_the_numbers_of_numpy() {
        // numpy.random.RandomState(43).randint(0, 2**32, 4, dtype=numpy.uint32), NumPy 2.4.6.
        let mut rng = MersenneTwister::new(43);
        let words = [(); 4].map(|()| rng.next_u32());
        assert_eq!(
            words,
            [494_155_588, 2_134_003_008, 2_615_920_895, 442_015_537]
        );
    }

    #[test]
    fn the_generator_shuffles_like_numpy() {
        // numpy.random.RandomState(43).permutation(10), NumPy 2.4.6.
        let order = MersenneTwister::new(43).permutation(10);
        assert_eq!(order, [3, 9, 6, 8, 2, 5, 1, 7, 0, 4]);
    }

    #[test]
    fn a_class_of_one_is_not_stratified() {
        let labels: Vec<bool> = (0..46).map(|row| row != 20).collect();
        let split = split(&labels);
        // scikit-learn 1.9.1, train_test_split(range(46), test_size=0.34, train_size=0.66, random_state=43).
        let published = [5, 6, 7, 8, 13, 14, 18, 19, 20, 22, 24, 28, 29, 32, 40, 41];
        assert_eq!(split.test, published);
        assert_eq!(split.train.len(), 30);
    }
}
