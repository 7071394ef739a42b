//! One case: a whole round of arithmetic, every phase measured, the sum checked.

use crate::{
    cohort::{self, Answers, Cohort, Keys, Sharing},
    meter::{Cost, cpu_seconds, measure},
    values,
};
use anyhow::ensure;
use consort_aggregation::{Accumulator, VectorSchema};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};

/// Uploads that are added together, so that not all of a case need memory at once. The coordinator adds all survivors': it pays
/// for a chunk's sum once where this pays for every batch.
const BATCH: usize = 10;

/// What is measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Case {
    /// Members.
    pub(crate) n: u32,
    /// Elements of a vector.
    pub(crate) d: u64,
    /// The largest absolute integer of an update.
    pub(crate) q: u32,
    /// Neighbours of a member; n - 1 is the complete graph.
    pub(crate) degree: u32,
    /// Shares that open a secret.
    pub(crate) threshold: u32,
    /// Members of whom the masked updates are counted as lost in the second unmasking.
    pub(crate) dropped: u32,
    /// The seed of keys and shares.
    pub(crate) seed: u64,
}

/// What one case cost. Client figures are those of the median member.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) case: Case,
    /// Bits of one ring element.
    pub(crate) width: u8,
    pub(crate) wire_bytes_per_param: f64,
    pub(crate) setup: Setup,
    pub(crate) client: Client,
    pub(crate) server: Server,
}

/// One member's set-up, without signatures and evidence.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Setup {
    /// Drawing the keys.
    pub(crate) keys: Cost,
    /// Splitting both secrets and committing to them.
    pub(crate) deal: Cost,
    /// Sealing a box for each neighbour.
    pub(crate) seal: Cost,
    /// Opening the neighbours' boxes and checking both shares of each.
    pub(crate) verify: Cost,
    pub(crate) total_cpu_s: f64,
}

/// One member's way from integers to the sealed upload.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Client {
    /// Agreeing on the seeds of all masks.
    pub(crate) agree_cpu_s: f64,
    pub(crate) encode_cpu_s: f64,
    /// Masks, packing and tree hash together, as they are called.
    pub(crate) mask_cpu_s: f64,
    /// Packing alone, once more.
    pub(crate) pack_cpu_s: f64,
    /// The tree hash alone, once more.
    pub(crate) hash_cpu_s: f64,
    /// Agreeing, encoding, and masking.
    pub(crate) total_cpu_s: f64,
    /// Masking without packing and hash, for each parameter and mask (neighbours and the own one).
    pub(crate) mask_ns_per_param_per_mask: f64,
    pub(crate) encode_ns_per_param: f64,
    /// The most memory of encoding and masking beyond the caller's integers.
    pub(crate) extra_bytes: u64,
}

/// The coordinator's arithmetic.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Server {
    /// Unpacking and adding, for each parameter and member (median over batches).
    pub(crate) ingest_ns_per_param: f64,
    /// The same in the fastest batch: other programs have disturbed it least.
    pub(crate) ingest_least_ns_per_param: f64,
    /// Copying an upload's chunks to where they are added, for each parameter: not part of the above (median over batches).
    pub(crate) copy_ns_per_param: f64,
    /// The tree hash of one upload, for each parameter (median).
    pub(crate) hash_ns_per_param: f64,
    /// The memory of adding updates beyond them and the sum (median: the first batch finds the sum's pages untouched).
    pub(crate) ingest_extra_bytes: u64,
    /// Nobody dropped out.
    pub(crate) unmask_all: Cost,
    /// The case's dropouts were lost after they had shared their keys.
    pub(crate) unmask_dropped: Option<Cost>,
}

impl Case {
    /// Runs the case.
    ///
    /// # Errors
    /// When a sum is not exact, the numbers do not fit each other, or the process cannot be measured.
    pub(crate) fn run(self) -> anyhow::Result<Outcome> {
        self.check()?;
        let schema = cohort::schema(self.d, self.n, self.q)?;
        let mut rng = ChaCha20Rng::seed_from_u64(self.seed);
        let reach = (self.degree < self.n - 1).then_some(self.degree / 2);
        let cohort = Cohort::new(self.n, self.threshold, reach, &mut rng);
        let fewest = cohort.fewest_holders(self.n - self.dropped);
        ensure!(
            fewest >= self.threshold as usize,
            "with {} dropped, {fewest} holders of somebody's shares are left of the {} that are needed",
            self.dropped,
            self.threshold
        );
        let sharings: Vec<Sharing> = (1..=self.n)
            .map(|position| cohort.deal(position, &mut rng))
            .collect();
        let setup = self.setup(&cohort, &sharings, &mut rng)?;

        let mut round = Round::new(schema);
        // Who will be lost comes last, so that the sum without them is a copy on the way.
        let survivors = self.n - self.dropped;
        (1..=survivors).try_for_each(|position| round.member(&self, &cohort, position))?;
        round.ingest_waiting()?;
        let unmask_dropped = if self.dropped > 0 {
            let answers = Answers::gather(&sharings, survivors);
            let copy = (round.sum.clone(), round.expected.clone());
            Some(open(&cohort, copy, survivors, &answers)?)
        } else {
            None
        };
        (survivors + 1..=self.n).try_for_each(|position| round.member(&self, &cohort, position))?;
        round.ingest_waiting()?;
        let answers = Answers::gather(&sharings, self.n);
        let client = round.client(&self, &cohort);
        let (ingest, copying) = (round.ingest, round.copying);
        let unmask_all = open(&cohort, (round.sum, round.expected), self.n, &answers)?;

        let d = count(self.d);
        Ok(Outcome {
            case: self,
            width: schema.width().bits(),
            wire_bytes_per_param: count(schema.packed_len()) / d,
            setup,
            client,
            server: Server {
                ingest_ns_per_param: median(ingest.iter().map(|one| one.cpu_s)) * 1e9 / d,
                ingest_least_ns_per_param: least(ingest.iter().map(|one| one.cpu_s)) * 1e9 / d,
                copy_ns_per_param: median(copying.into_iter()) * 1e9 / d,
                hash_ns_per_param: median(round.clients.iter().map(|one| one.hash)) * 1e9 / d,
                ingest_extra_bytes: median_bytes(&ingest),
                unmask_all,
                unmask_dropped,
            },
        })
    }

    fn check(&self) -> anyhow::Result<()> {
        ensure!(self.n >= 3, "a cohort has at least 3 members");
        ensure!(
            self.degree == self.n - 1
                || (self.degree < self.n - 1 && self.degree.is_multiple_of(2)),
            "the degree is n - 1 or a smaller even number"
        );
        Ok(())
    }

    fn setup(
        &self,
        cohort: &Cohort,
        sharings: &[Sharing],
        rng: &mut ChaCha20Rng,
    ) -> anyhow::Result<Setup> {
        let neighbours = cohort.neighbours(1);
        let (_, keys) = measure(|| Keys::draw(rng))?;
        let (sharing, deal) = measure(|| cohort.deal(1, rng))?;
        let (_, seal) = measure(|| {
            let boxes = neighbours.iter().map(|&to| cohort.seal(1, to, &sharing));
            boxes.collect::<Vec<_>>()
        })?;
        let boxes: Vec<_> = neighbours
            .iter()
            .map(|&from| {
                let sharing = &sharings[from as usize - 1];
                (from, cohort.seal(from, 1, sharing), sharing)
            })
            .collect();
        let (verified, verify) = measure(|| cohort.open_and_verify(1, &boxes))?;
        ensure!(verified, "an honest share was refused");
        Ok(Setup {
            keys,
            deal,
            seal,
            verify,
            total_cpu_s: keys.cpu_s + deal.cpu_s + seal.cpu_s + verify.cpu_s,
        })
    }
}

/// CPU seconds of one member's steps.
struct ClientTimes {
    agree: f64,
    encode: f64,
    mask: f64,
    pack: f64,
    hash: f64,
}

/// The sum so far, the sum it must be, and what each member cost.
struct Round {
    schema: VectorSchema,
    sum: Accumulator,
    expected: Vec<i64>,
    clients: Vec<ClientTimes>,
    client_extra: u64,
    /// Uploads that are not added yet.
    waiting: Vec<Vec<u8>>,
    /// What adding cost, for one member, by batches.
    ingest: Vec<Cost>,
    /// What copying the chunks cost beside it.
    copying: Vec<f64>,
}

impl Round {
    fn new(schema: VectorSchema) -> Self {
        let elements = usize::try_from(schema.elements()).expect("a vector fits the memory");
        Self {
            schema,
            sum: Accumulator::new(schema),
            expected: vec![0; elements],
            clients: Vec::new(),
            client_extra: 0,
            waiting: Vec::new(),
            ingest: Vec::new(),
            copying: Vec::new(),
        }
    }

    fn member(&mut self, case: &Case, cohort: &Cohort, position: u32) -> anyhow::Result<()> {
        let integers = values::update(position, case.d, case.q);
        for (total, integer) in self.expected.iter_mut().zip(&integers) {
            *total += integer;
        }
        let ((own, pairs), agree) = cpu_seconds(|| cohort.agree(position));
        let ((masked, encode, mask), both) = measure(|| {
            let (encoded, encode) = cpu_seconds(|| cohort::encode(&integers, self.schema));
            let (masked, mask) = cpu_seconds(|| cohort::mask(encoded, &own, &pairs));
            (masked, encode, mask)
        })?;
        self.client_extra = self.client_extra.max(both.extra_bytes);
        let (root, hash) = cpu_seconds(|| cohort::hash(&masked));
        ensure!(root == masked.tree_hash(), "the tree hash does not repeat");
        let elements: Vec<u64> = integers.iter().map(|value| value.cast_unsigned()).collect();
        drop(integers);
        let (packed, pack) = cpu_seconds(|| cohort::pack_alone(&elements, self.schema));
        drop((elements, packed));
        self.waiting.push(cohort::wire(&masked));
        drop(masked);
        if self.waiting.len() == BATCH {
            self.ingest_waiting()?;
        }
        self.clients.push(ClientTimes {
            agree,
            encode,
            mask,
            pack,
            hash,
        });
        Ok(())
    }

    /// Adds what is waiting as the coordinator does: one chunk of all of them after the other.
    fn ingest_waiting(&mut self) -> anyhow::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        let (copying, mut cost) = measure(|| cohort::ingest(&mut self.sum, &self.waiting))?;
        let (copying, uploads) = (copying?, count(self.waiting.len() as u64));
        cost.cpu_s = (cost.cpu_s - copying) / uploads;
        self.ingest.push(cost);
        self.copying.push(copying / uploads);
        self.waiting.clear();
        Ok(())
    }

    fn client(&self, case: &Case, cohort: &Cohort) -> Client {
        let of = |time: fn(&ClientTimes) -> f64| median(self.clients.iter().map(time));
        let (pack, hash, mask) = (of(|t| t.pack), of(|t| t.hash), of(|t| t.mask));
        let masks = count(cohort.neighbours(1).len() as u64 + 1);
        Client {
            agree_cpu_s: of(|t| t.agree),
            encode_cpu_s: of(|t| t.encode),
            mask_cpu_s: mask,
            pack_cpu_s: pack,
            hash_cpu_s: hash,
            total_cpu_s: of(|t| t.agree + t.encode + t.mask),
            mask_ns_per_param_per_mask: (mask - pack - hash) * 1e9 / count(case.d) / masks,
            encode_ns_per_param: of(|t| t.encode) * 1e9 / count(case.d),
            extra_bytes: self.client_extra,
        }
    }
}

/// Unmasks a sum, and refuses to report the time of a wrong one.
fn open(
    cohort: &Cohort,
    (mut sum, expected): (Accumulator, Vec<i64>),
    survivors: u32,
    answers: &Answers,
) -> anyhow::Result<Cost> {
    let ((), cost) = measure(|| cohort.unmask(&mut sum, survivors, answers))?;
    ensure!(
        sum.finish().values() == expected,
        "the sum over {survivors} survivors is wrong"
    );
    Ok(cost)
}

fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = values.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn least(values: impl Iterator<Item = f64>) -> f64 {
    values.reduce(f64::min).unwrap_or(f64::NAN)
}

fn median_bytes(costs: &[Cost]) -> u64 {
    let mut sorted: Vec<u64> = costs.iter().map(|cost| cost.extra_bytes).collect();
    sorted.sort_unstable();
    sorted.get(sorted.len() / 2).copied().unwrap_or(0)
}

/// A count in a quotient; exact below 2^53.
#[expect(
    clippy::as_conversions,
    reason = "there is no lossless conversion from u64 to f64"
)]
pub(crate) fn count(value: u64) -> f64 {
    value as f64
}
