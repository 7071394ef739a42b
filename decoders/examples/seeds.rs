//! Writes the valid messages of the corpus: `cargo run -p consort-decoders --example seeds`. The simulated vendor's keys are
//! drawn anew; everything else is the same every time.
#![expect(clippy::unwrap_used, reason = "a generator of test data")]

#[path = "seeds/targets.rs"]
mod targets;

use consort_aggregation::{
    Canonical, Digest, MemberIndex, RevealedAgreement, RoundKeyContext, SecretKey, Share,
    SharePair, Width, pack, split,
};
use consort_attestation::channel::wrap_evidence;
use consort_attestation::simulated::{SimulatedTdxVendor, SimulatedVendor};
use consort_attestation::{Attester, Product, ReportData};
use consort_audit::{
    Checkpoint, ConsistencyProof, Cosignature, InclusionProof, MerkleTree, NoteSigner, WitnessKey,
    leaf_hash, witness_name,
};
use consort_contract::features::{DataSchema, FeatureSpec, MissingValues, TargetSpec};
use consort_contract::job::{
    AggregationDocument, DataAccessDocument, DeadlineDocument, ModelDocument, PrivacyDocument,
};
use consort_contract::{
    AdaptiveTerms, Algorithm, ConsortiumId, CosineDecay, Decay, DpFedSgd, Evaluate,
    EvaluateWeights, FedAvg, IdentitySecret, Job, JobDocument, JobId, Label, ManifestDocument,
    OrganisationId, Plan, Query, Report, Requirements, RevocationListBytes, RosterDocument,
    RosterEntry, Rotation, Sampling, Schedule, ServerOptimizerTerms, SignedManifest, SignedRoster,
    Stats, StatsQuery, StepDecay,
};
use consort_coordinator::jobs::{Contract, Ending, Final, JobEvent, Released};
use consort_coordinator::manifest::{ManifestOutputs, ManifestRound};
use consort_coordinator::{Manifest, model_file};
use consort_model::{Layer, Loss, ModelSpec, OptimizerState, Parameters};
use consort_proto::convert;
use consort_proto::wire::audit::v1::{CosignRequest, ProveHeadRequest, ProveHeadResponse};
use consort_proto::wire::{consent, keys, round};
use consort_round::blame::{Blame, Proceedings, Signed};
use consort_round::{RoundOpen, RoundResult, ShareKeys, SplitView};
use prost::Message;
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, UNIX_EPOCH};

fn main() {
    aggregation();
    attestation();
    audit();
    documents();
    vault();
    wire();
    disk();
}

fn write(decoder: &str, bytes: impl AsRef<[u8]>) {
    write_as(decoder, "valid", bytes);
}

fn write_as(decoder: &str, file: &str, bytes: impl AsRef<[u8]>) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("corpus")
        .join(decoder);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(file), bytes).unwrap();
}

/// A record of a wrong box, the attempt that it is about, and the complaint that it came from.
fn blame(
    open: &round::v1::RoundOpen,
    advert: &round::v1::Advert,
    dealt: &ShareKeys,
    id: &Option<round::v1::AttemptId>,
) {
    let open = convert::round_open_from_wire(open.clone()).unwrap();
    let coordinator = IdentitySecret::from_seed(&[9; 32]);
    let [first, second] = [b"one", b"two"].map(|head| {
        let mut terms = open.terms.clone();
        terms.log_head = Digest::of(head);
        RoundOpen::new(terms, &coordinator)
    });
    let split = SplitView::of_announcements(&first, &second, &coordinator.public()).unwrap();
    write("split-view", split.encode());
    let advert = convert::advert_from_wire(Some(advert.clone())).unwrap();
    let heads = BTreeMap::from([(advert.member, advert.head())]);
    write(
        "blame-proceedings",
        Proceedings::new(&open.terms, heads).encode(),
    );
    let mut rng = ChaCha20Rng::seed_from_u64(5);
    let keys = [(); 2].map(|()| SecretKey::random(&mut rng));
    let context = RoundKeyContext::new(&open.terms.context(), &Digest::of(b"adverts"));
    let agreement = RevealedAgreement::reveal(&keys[0], &keys[1].public(), &context, &mut rng);
    let (to, sealed) = dealt.sealed.first_key_value().unwrap();
    let record = Blame::WrongBox {
        statement: Signed {
            bytes: b"statement".to_vec(),
            signature: dealt.statement.signature,
        },
        sealed: sealed.clone(),
        to: *to,
        agreement: agreement.clone(),
    };
    write("blame-record", record.encode());
    let complaint = round::v1::ReportBlameRequest {
        id: id.clone(),
        dealer: dealt.statement.member.get(),
        agreement: agreement.to_bytes().to_vec(),
    };
    write("wire-complaint", complaint.encode_to_vec());
}

/// What daemons find on their disk. The firmware's seed is the one that the tests of `attestation` make.
fn disk() {
    let beside = |path: &str| {
        let file = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
            .join("..")
            .join(path);
        fs::read(file).unwrap()
    };
    write(
        "coordinator-config",
        beside("coordinator/config.sample.toml"),
    );
    write(
        "participant-config",
        beside("participant/config.sample.toml"),
    );
    write("consent-policy", beside("participant/consent.sample.toml"));
    let rows = "note,age,kind,ill\n\"one, two\",61.5,a,1\n,1e2, b ,0\r\nπ,-3,b,0.75\n";
    write("data-file", rows);
    write_as("data-file", "missing", "age,kind,ill\n1,a,1\n,?,0\n2,b,?\n");

    let job = JobId::new("job-1").unwrap();
    let contract = Contract::propose(
        job.clone(),
        job_document(),
        &signed_roster(5).verify().unwrap(),
    )
    .unwrap();
    let event = |event: JobEvent| event.encode(&job, 1_767_225_600_000, None);
    write(
        "stored-event",
        event(JobEvent::Submitted(Box::new(contract))),
    );
    write_as(
        "stored-event",
        "ended",
        event(JobEvent::Ended(Ending::new(
            Final::Failed,
            "vote_refused",
            "no".to_owned(),
        ))),
    );
    let result = RoundResult {
        context: Digest::of(b"context"),
        survivors: [1, 2, 3].map(|i| MemberIndex::new(i).unwrap()).into(),
        aggregate: Digest::of(b"sum"),
        signature: secret(0).sign(b"result"),
    };
    let released = Released {
        result,
        model: Digest::of(b"model"),
        noised_loss: Some(0.5),
        phase_ms: BTreeMap::from([("sharing".to_owned(), 5)]),
    };
    write_as(
        "stored-event",
        "released",
        event(JobEvent::Released(Box::new(released))),
    );

    let spec = convert::job_to_wire(&job_document());
    let proposal = consent::v1::Proposal {
        job: job.to_string(),
        spec: Some(spec),
        plan: None,
    };
    write(
        "stored-state",
        [&[1][..], &proposal.encode_to_vec()].concat(),
    );
    write_as("stored-state", "answered", [&[0][..], b"12 3"].concat());

    let frames = [&b"a frame"[..], b"another frame"];
    let mut records = Vec::new();
    for frame in frames {
        records.extend(u32::try_from(frame.len()).unwrap().to_le_bytes());
        records.extend(Digest::of(frame).as_bytes());
    }
    let length = u16::try_from(records.len()).unwrap().to_be_bytes();
    write(
        "stored-spool",
        [&length[..], &records, &frames.concat()].concat(),
    );
    write("state-key", "5a".repeat(32) + "\n");
    write("sealed-state", consort_decoders::seal_state(&[7; 32]));

    let layers = vec![Layer::Dense { outputs: 1 }];
    let model = ModelSpec::new(3, layers, Loss::BinaryCrossEntropy).unwrap();
    let parameters = Parameters::new(&model, vec![1.0, -2.0, 0.5, 0.25]).unwrap();
    let metadata = BTreeMap::from([("consort.job".to_owned(), job.to_string())]);
    let file = model_file::write(&model, &OptimizerState::initial(parameters), metadata).unwrap();
    write("model-file", file);
    let asking = asking_documents()
        .into_iter()
        .chain(targets::documents(&job_document(), &evaluate()));
    for (name, document) in asking {
        let job = Job::new(document).unwrap();
        if job.query().is_none() {
            continue;
        }
        let plan = Plan::derive(&job).unwrap();
        let sum: Vec<i64> = (1..)
            .map(|i| i << 30)
            .take(job.query().unwrap().elements())
            .collect();
        let id = JobId::new("job-2").unwrap();
        let report = Report::of(&id, &job, &plan, &sum, 5).unwrap();
        let name = if name == "stats" { "valid" } else { name };
        write_as("report", name, serde_json::to_vec(&report).unwrap());
    }
    write(
        "model-manifest",
        manifest().sign(&consort_decoders::coordinator()),
    );
    for (name, document) in targets::documents(&job_document(), &evaluate()) {
        let manifest = Manifest {
            outputs: ManifestOutputs::of(&Job::new(document).unwrap()),
            ..manifest()
        };
        if manifest.outputs.is_some() {
            let signed = manifest.sign(&consort_decoders::coordinator());
            write_as("model-manifest", name, signed);
        }
    }
}

fn manifest() -> Manifest {
    let digest = |text: &[u8]| Digest::of(text).to_string();
    Manifest {
        version: 1,
        consortium: "tests".to_owned(),
        roster_root: digest(b"roster"),
        job: "job-1".to_owned(),
        name: "small".to_owned(),
        purpose: "tests".to_owned(),
        contract: digest(b"contract"),
        rounds: vec![ManifestRound {
            round: 1,
            attempt: 1,
            survivors: vec!["clinic-1".to_owned(), "clinic-2".to_owned()],
        }],
        epsilon: 1.0,
        epsilon_rdp: 1.25,
        epsilon_by_coalition: vec![0.75, 1.0],
        delta: 1e-5,
        c_noise: 1,
        sigma: 9.5,
        attestation: "simulated".to_owned(),
        dangerous: vec!["simulated roots".to_owned()],
        model_sha256: digest(consort_decoders::MODEL),
        outputs: None,
    }
}

fn aggregation() {
    let canonical = Canonical::new("consort/fuzz/v1")
        .u64(7)
        .bytes(&[1; 32])
        .str("text")
        .list(2)
        .u64(1)
        .u64(2)
        .finish();
    let script = [1, 2, 5, 6, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    write("canonical", [&script[..], &canonical].concat());
    write("digest", Digest::of(b"digest").to_string());

    let width = Width::new(22).unwrap();
    let elements: Vec<u64> = (0..100).map(|i| i * 40_000).collect();
    let packed = pack(&elements, width);
    let count = 100_u64.to_be_bytes();
    write("packed-vector", [&[22][..], &count, &packed].concat());
    write("aggregate-sum", [&[22][..], &count, &packed].concat());
    // Elements 8 to 23 of 100.
    let range = [&[22, 100][..], &8_u64.to_be_bytes(), &packed[22..66]].concat();
    write("packed-range", range);

    let mut rng = ChaCha20Rng::seed_from_u64(3);
    let key = SecretKey::random(&mut rng);
    write("public-key", key.public().to_bytes());
    let holders = [1, 2, 3].map(|position| MemberIndex::new(position).unwrap());
    let (commitments, shares) = split(&key.to_share_secret(), 2, &holders, &mut rng).unwrap();
    let share: &Share = &shares[&holders[1]];
    write("share", *share.to_bytes());
    write(
        "commitments",
        [&share.to_bytes()[..], &commitments.to_bytes()].concat(),
    );
    let pair = SharePair {
        mask_key: share.clone(),
        self_mask: shares[&holders[2]].clone(),
    };
    write("sealed-shares", consort_decoders::seal(&pair));
}

fn attestation() {
    // 2026-01-01: evidence is judged a day later.
    let start = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    let vendor = SimulatedVendor::create(Product::Genoa, start).unwrap();
    let attester = vendor.attester(consort_decoders::MACHINE, start).unwrap();
    let evidence = attester.attest(ReportData::new([0x5A; 64])).unwrap();
    write("attestation-report", evidence.report());
    let vcek_der = evidence.vcek_der().unwrap();
    write("certificate-table", certificate_table(vcek_der));
    let evidence = evidence.to_bytes();
    write("evidence", &evidence);
    write("evidence-judged", &evidence);
    write("trust-bundle", vendor.roots_pem().unwrap());
    write(
        "revocation-list",
        vendor.revocation_list(&[9], start).unwrap(),
    );
    let policy = format!(
        "[trust]\nroots = []\ndangerous_simulated_roots = [\"{}\"]\n\n[snp]\nreport_versions = [3, 5]\n\
         measurements = [\"{}\"]\n\n[snp.min_tcb.genoa]\nbootloader = 10\ntee = 1\nsnp = 25\nmicrocode = 84\n",
        hex::encode(vendor.root_hash().unwrap()),
        consort_decoders::MACHINE.measurement,
    );
    write("attestation-policy", policy);
    let vendor = SimulatedTdxVendor::create(start).unwrap();
    let attester = vendor.machine(consort_decoders::TD, start).unwrap();
    let quote = attester.attest(ReportData::new([0x5A; 64])).unwrap();
    write("tdx-quote", quote.to_bytes());
    certificate(&evidence);
    write("tdx-collateral", vendor.collateral(start).unwrap());
    channel();
}

/// A host's table (AMD 56421, section 4.1.8.1): an ASK, which is passed over, and the VCEK.
fn certificate_table(vcek_der: &[u8]) -> Vec<u8> {
    let rows = [
        ("4ab7b379bbac4fe4a02f05aef327c782", b"no ASK".as_slice()),
        ("63da758de6644564adc5f4b93be8accd", vcek_der),
    ];
    let mut offset = 24 * (rows.len() + 1);
    let (mut table, mut certificates) = (Vec::new(), Vec::new());
    for (guid, certificate) in rows {
        table.extend(hex::decode(guid).unwrap());
        table.extend(u32::try_from(offset).unwrap().to_le_bytes());
        table.extend(u32::try_from(certificate.len()).unwrap().to_le_bytes());
        certificates.extend(certificate);
        offset += certificate.len();
    }
    table.extend([0; 24]);
    [table, certificates].concat()
}

/// A certificate of the channel, and the extension by itself.
fn certificate(evidence: &[u8]) {
    let wrapped = wrap_evidence(evidence);
    let oid = [1, 3, 6, 1, 5, 5, 7, 1, 35];
    let mut params = rcgen::CertificateParams::default();
    params.custom_extensions = vec![rcgen::CustomExtension::from_oid_content(
        &oid,
        wrapped.clone(),
    )];
    let key = rcgen::KeyPair::generate().unwrap();
    write(
        "channel-certificate",
        params.self_signed(&key).unwrap().der(),
    );
    write("evidence-wrapper", wrapped);
}

/// The messages of the exchange in front of every connection.
fn channel() {
    let nonce = [7; 32];
    let proof = Canonical::new("consort/attest/proof/v1")
        .str("clinic-1")
        .bytes(&[0x1D; 32])
        .bytes(&[0x51; 64])
        .bytes(&b"evidence".repeat(4))
        .finish();
    // A manifest's version and hash behind the nonce.
    let begun = |label| {
        let begun = Canonical::new(label).bytes(&nonce);
        begun.u64(2).bytes(&[0xAF; 32])
    };
    let opening = begun("consort/attest/opening/v2");
    write("channel-message", opening.bytes(&proof).finish());
    let hello = begun("consort/attest/hello/v2");
    write_as("channel-message", "hello", hello.finish());
    write_as("channel-message", "proof", proof);
    let verdict = |number, correlation: &[u8]| {
        Canonical::new("consort/attest/verdict/v1")
            .u64(number)
            .bytes(correlation)
            .finish()
    };
    write_as("channel-message", "accepted", verdict(0, &[]));
    write_as("channel-message", "refused", verdict(1, &[0xC0; 16]));
}

fn audit() {
    // A line as the log writes it: only the log gives records their time.
    let digest = |byte: &str| byte.repeat(32);
    let record = format!(
        r#"{{"v":2,"time_unix_ms":1767225600000,"job":"job-1","round":{{"number":1,"attempt":1}},"event":{{"round_opened":{{"context":"{}","model":"{}","cohort":["clinic-1"],"n_min":3,"threshold":4}}}}}}"#,
        digest("01"),
        digest("02")
    );
    write("audit-record", record);

    let mut tree = MerkleTree::new();
    for _ in 0..13 {
        tree.push(leaf_hash(b"leaf"));
    }
    let checkpoint = Checkpoint {
        origin: "tests".to_owned(),
        size: tree.size(),
        root: tree.root(),
    };
    let key = ed25519_dalek::SigningKey::from_bytes(&[7; 32]);
    let signer = NoteSigner::new("tests", key).unwrap();
    write("audit-checkpoint", checkpoint.to_string());
    write("audit-note", checkpoint.sign(&signer).unwrap().to_string());
    write("audit-key", signer.verifier().to_string());
    audit_proofs(&tree, &signer);
    let proof = |a: u64, b: u64, hashes: Vec<consort_audit::Hash>| {
        let mut bytes = [a.to_be_bytes(), b.to_be_bytes()].concat();
        hashes
            .iter()
            .for_each(|hash| bytes.extend_from_slice(&hash.0));
        bytes
    };
    write(
        "audit-inclusion",
        proof(5, 13, tree.inclusion_proof(5, 13).unwrap()),
    );
    write(
        "audit-consistency",
        proof(6, 13, tree.consistency_proof(6, 13).unwrap()),
    );
}

/// A co-signed checkpoint, and a file of each kind of proof.
fn audit_proofs(tree: &MerkleTree, signer: &NoteSigner) {
    let note = |size: u64| {
        let (origin, root) = ("tests".to_owned(), tree.root_at(size).unwrap());
        Checkpoint { origin, size, root }.sign(signer).unwrap()
    };
    let mut cosigned = note(13);
    for seed in 1..=2 {
        let own = secret(seed);
        let name = witness_name("tests", &format!("clinic-{seed}"));
        let witness = WitnessKey::new(&name, own.public().as_bytes()).unwrap();
        let text = note(13).verified(signer.verifier()).unwrap().to_owned();
        let signed = Cosignature::new(&text, 1_767_225_600, |bytes| own.sign(bytes).0);
        cosigned.add_cosignature(&witness, &signed);
    }
    write("audit-cosigned", cosigned.to_string());
    let inclusion = InclusionProof {
        index: 5,
        entry: b"leaf".to_vec(),
        hashes: tree.inclusion_proof(5, 13).unwrap(),
        checkpoint: cosigned,
    };
    write("audit-proof", inclusion.to_string());
    let consistency = ConsistencyProof {
        hashes: tree.consistency_proof(6, 13).unwrap(),
        old: note(6),
        new: note(13),
    };
    write_as("audit-proof", "valid-consistency", consistency.to_string());

    let log_head = consort_audit::head_hash(&note(13)).0.to_vec();
    let asked = ProveHeadRequest {
        log_head: log_head.clone(),
        kept_entries: 6,
    };
    write("wire-prove-head", asked.encode_to_vec());
    let proof = consistency.hashes.iter().flat_map(|hash| hash.0);
    let shown = ProveHeadResponse {
        checkpoint: note(13).to_string(),
        proof: proof.collect(),
    };
    write("wire-shown-head", shown.encode_to_vec());
    let cosignature = vec![7; consort_audit::COSIGNATURE_BYTES];
    let cosigned = CosignRequest {
        log_head,
        cosignature,
    };
    write("wire-cosign", cosigned.encode_to_vec());
}

fn organisation(i: u8) -> OrganisationId {
    OrganisationId::new(&format!("clinic-{i}")).unwrap()
}

fn secret(i: u8) -> IdentitySecret {
    IdentitySecret::from_seed(Digest::of(&[i]).as_bytes())
}

fn job_document() -> JobDocument {
    let numeric = FeatureSpec::Numeric {
        column: "age".to_owned(),
        center: 50.0,
        scale: 10.0,
        clip: 5.0,
    };
    let one_hot = FeatureSpec::OneHot {
        column: "kind".to_owned(),
        levels: vec!["a".to_owned(), "b".to_owned()],
    };
    let target = TargetSpec::binary("ill", 0.5);
    let label = |text: &str| Label::new(text).unwrap();
    JobDocument {
        name: label("small"),
        purpose: label("tests"),
        dataset: label("records"),
        members: (1..=5).map(organisation).collect(),
        data: DataSchema::new(vec![numeric, one_hot], target, MissingValues::Refuse).unwrap(),
        model: ModelDocument {
            layers: vec![
                Layer::Dense { outputs: 4 },
                Layer::Relu,
                Layer::Dense { outputs: 1 },
            ],
            loss: Loss::BinaryCrossEntropy,
            seed: [0; 32],
        },
        algorithm: Algorithm::DpFedSgd(DpFedSgd {
            rounds: 3,
            clip: 1.0,
            learning_rate: 0.5,
            momentum: 0.9,
            divisor: 100.0,
            loss_weight: 0.25,
            max_records_per_member: 1000,
            server_optimizer: None,
            schedule: None,
            sampling: None,
        }),
        privacy: PrivacyDocument {
            epsilon: 1.0,
            delta: 1e-5,
            c_noise: 1,
        },
        aggregation: AggregationDocument::default(),
        deadlines: DeadlineDocument::default(),
        data_access: DataAccessDocument::default(),
        requirements: Requirements::default(),
    }
}

/// The job's inputs are a number and a category of two levels.
fn document_of_layers() -> JobDocument {
    let mut document = job_document();
    let layers = r#"[
        {"embedding": {"columns": [{"first": 1, "levels": 2, "outputs": 3}]}},
        {"residual": {"layers": ["layer_norm", {"dense": {"outputs": 4}}, "tanh"]}},
        {"image": {"channels": 1, "height": 2, "width": 2}},
        {"conv2d": {"outputs": 2, "kernel": 3, "padding": 1}},
        "relu", "max_pool", "flatten",
        {"dense": {"outputs": 1}}
    ]"#;
    document.model.layers = serde_json::from_str(layers).unwrap();
    Job::new(document.clone()).unwrap();
    document
}

/// Jobs that ask for all that an algorithm may be asked for.
fn documents_with_options() -> [(&'static str, JobDocument); 3] {
    let terms = AdaptiveTerms {
        beta1: 0.9,
        beta2: 0.99,
        tau: 0.001,
    };
    let step = Schedule {
        warmup_rounds: 1,
        decay: Decay::Step(StepDecay {
            every: 1,
            factor: 0.5,
        }),
    };
    let cosine = Schedule {
        warmup_rounds: 2,
        decay: Decay::Cosine(CosineDecay { last: 0.25 }),
    };
    let (mut summed, mut averaged) = (job_document(), averaged_document());
    if let Algorithm::DpFedSgd(a) = &mut summed.algorithm {
        a.momentum = 0.0;
        a.server_optimizer = Some(ServerOptimizerTerms::Fedadam(terms));
        a.schedule = Some(cosine);
        a.sampling = Some(Sampling {
            rate: 0.125,
            max_batch: 200,
        });
    }
    if let Algorithm::FedAvg(a) = &mut averaged.algorithm {
        a.momentum = 0.0;
        a.server_optimizer = Some(ServerOptimizerTerms::Fedyogi(terms));
        a.schedule = Some(step);
        a.local_schedule = Some(cosine);
        a.proximal = Some(0.25);
    }
    let mut controlled = averaged_document();
    if let Algorithm::FedAvg(a) = &mut controlled.algorithm {
        a.momentum = 0.0;
        a.scaffold = true;
    }
    [
        ("dp-fedsgd-options", summed),
        ("fedavg-options", averaged),
        ("fedavg-scaffold", controlled),
    ]
}

fn averaged_document() -> JobDocument {
    JobDocument {
        algorithm: Algorithm::FedAvg(FedAvg {
            rounds: 3,
            local_steps: 2,
            clip: 1.0,
            local_learning_rate: 0.5,
            local_divisor: 20.0,
            loss_weight: 0.25,
            max_records_per_member: 1000,
            update_clip: 2.0,
            value_range: Some(0.5),
            value_bits: 16,
            rotation: Rotation::Hadamard,
            learning_rate: 1.0,
            momentum: 0.5,
            server_optimizer: None,
            schedule: None,
            local_schedule: None,
            proximal: None,
            scaffold: false,
        }),
        ..job_document()
    }
}

fn asking_documents() -> [(&'static str, JobDocument); 2] {
    let column = || "age".to_owned();
    let weight = 1.0;
    let stats = Stats {
        queries: vec![
            StatsQuery::Mean {
                column: column(),
                weight,
            },
            StatsQuery::Quantiles {
                column: column(),
                bins: 4,
                at: vec![0.25, 0.5],
                weight,
            },
        ],
        count_weight: 2.0,
        max_records_per_member: 1000,
    };
    let stats = JobDocument {
        model: ModelDocument::none(),
        algorithm: Algorithm::Query(Query::Stats(stats)),
        ..job_document()
    };
    let evaluate = JobDocument {
        algorithm: Algorithm::Query(Query::Evaluate(evaluate())),
        ..job_document()
    };
    [("stats", stats), ("evaluate", evaluate)]
}

fn evaluate() -> Evaluate {
    Evaluate {
        model_of: JobId::new("job-1").unwrap(),
        parameters: [7; 32],
        threshold: Some(0.5),
        bins: Some(4),
        weights: EvaluateWeights::default(),
        max_records_per_member: 1000,
    }
}

fn signed_roster(members: u8) -> SignedRoster {
    let entry = |i: u8| RosterEntry {
        identity: secret(i).public(),
        chip_id: [i; 64],
        host_data: [i; 32],
    };
    let document = RosterDocument {
        consortium: ConsortiumId::new("tests").unwrap(),
        version: 1,
        coordinator: entry(0),
        members: (1..=members).map(|i| (organisation(i), entry(i))).collect(),
    };
    let signatures: BTreeMap<_, _> = (1..=members)
        .map(|i| (organisation(i), document.sign(&secret(i))))
        .collect();
    SignedRoster::assemble(document, &signatures)
}

fn documents() {
    write("organisation", "clinic-1");
    let roster = signed_roster(3);
    write("roster", serde_json::to_vec(&roster).unwrap());
    let manifest = SignedManifest {
        document: ManifestDocument {
            consortium: roster.document.consortium.clone(),
            roster: roster.document.root(),
            version: 1,
            threshold: 2,
            previous: None,
            policy: "[trust]\nroots = []\n".to_owned(),
            revocation_lists: vec![RevocationListBytes(vec![0x30, 0x00])],
        },
        signatures: BTreeMap::new(),
    };
    let mut signed = manifest.clone();
    for i in 1..=3 {
        signed.add(organisation(i), &manifest.document.sign(&secret(i)));
    }
    write("attestation-manifest", signed.to_json());
    write_as("attestation-manifest", "unsigned", manifest.to_json());
    let job = job_document();
    write("job-document", serde_json::to_vec(&job).unwrap());
    let averaged = serde_json::to_vec(&averaged_document()).unwrap();
    write_as("job-document", "fedavg", averaged);
    for (name, document) in documents_with_options()
        .into_iter()
        .chain([("layers", document_of_layers())])
        .chain(asking_documents())
        .chain(targets::documents(&job_document(), &evaluate()))
    {
        let json = serde_json::to_vec(&document).unwrap();
        write_as("job-document", name, json);
        let wire = convert::job_to_wire(&document).encode_to_vec();
        write_as("wire-job", name, wire);
    }
    write("data-schema", serde_json::to_vec(&job.data).unwrap());

    let layers = vec![Layer::Dense { outputs: 1 }];
    let model = ModelSpec::new(3, layers, Loss::BinaryCrossEntropy).unwrap();
    write("model-spec", serde_json::to_vec(&model).unwrap());
    let layers = document_of_layers().model.layers;
    let model_of_layers = ModelSpec::new(2, layers, Loss::BinaryCrossEntropy).unwrap();
    write_as(
        "model-spec",
        "layers",
        serde_json::to_vec(&model_of_layers).unwrap(),
    );
    let bytes: Vec<u8> = [1.0_f32, -2.0, 0.5, 0.0]
        .iter()
        .flat_map(|v| v.to_le_bytes())
        .collect();
    write("parameters", &bytes);
    let state = OptimizerState::initial(Parameters::from_le_bytes(&model, &bytes).unwrap());
    write("optimizer-state", state.to_bytes());
    let line = "consort-debit-v1 data-set=records purpose=tests sequence=0 job=job-1 round=1 attempt=1 sigma=1.5 sampling=1 \
                steps=3 relation=add-remove unit=record";
    write("ledger-entry", line);
}

fn vault() {
    let header = Canonical::new("consort/data/sealed/v1")
        .str("records-key")
        .u64(1)
        .str("records")
        .bytes(&[1; 32])
        .bytes(&[2; 32])
        .finish();
    let length = u32::try_from(header.len()).unwrap().to_be_bytes();
    write("sealed-data-header", &header);
    write("sealed-data-start", [length.as_slice(), &header].concat());
}

fn key_release(approval: consent::v1::Approval) {
    let job = Job::new(job_document()).unwrap();
    let plan = Plan::derive(&job).unwrap();
    let request = keys::v1::ReleaseRequest {
        nonce: vec![1; 32],
        hpke_key: vec![2; 1216],
        key_id: "records-key".to_owned(),
        version: 1,
        proposal: Some(consent::v1::Proposal {
            job: "job-1".to_owned(),
            spec: Some(convert::job_to_wire(&job_document())),
            plan: Some(convert::plan_to_wire(&job, &plan)),
        }),
        approval: Some(approval),
        evidence: vec![3; 100],
    };
    write("wire-key-request", request.encode_to_vec());
    let request = keys::v1::StateReleaseRequest {
        nonce: vec![1; 32],
        hpke_key: vec![2; 1216],
        key_id: "clinic-1-state".to_owned(),
        evidence: vec![3; 64],
    };
    write("wire-state-key-request", request.encode_to_vec());
    let challenge = keys::v1::ChallengeResponse {
        nonce: vec![1; 32],
        lifetime_ms: 60_000,
    };
    write("wire-key-challenge", challenge.encode_to_vec());
}

fn wire() {
    let mut rng = ChaCha20Rng::seed_from_u64(4);
    let mut point = || SecretKey::random(&mut rng).public().to_bytes().to_vec();
    let signature = vec![1; 64];
    let digest = vec![2; 32];
    let id = Some(round::v1::AttemptId {
        job: "job-1".to_owned(),
        round: 1,
        attempt: 1,
    });
    let open = round::v1::RoundOpen {
        id: id.clone(),
        consortium: "tests".to_owned(),
        cohort: (1..=5_u8)
            .map(|i| round::v1::CohortMember {
                index: i.into(),
                organisation: organisation(i).to_string(),
                identity: secret(i).public().as_bytes().to_vec(),
            })
            .collect(),
        colluders: 1,
        minimum: 4,
        roster_root: digest.clone(),
        contract: digest.clone(),
        votes: digest.clone(),
        model: digest.clone(),
        elements: 100,
        width_bits: 45,
        log_head: digest.clone(),
        signature: signature.clone(),
        dropouts: None,
        reach: 0,
        witnesses: 0,
        values: None,
    };
    let advert = round::v1::Advert {
        member: 1,
        mask_key: point(),
        share_key: point(),
        evidence: vec![3; 100],
        ledger_sequence: 5,
        signature: signature.clone(),
    };
    let statement = round::v1::ShareStatement {
        member: 1,
        mask_key_commitments: [point(), point()].concat(),
        self_mask_commitments: [point(), point()].concat(),
        sealed: vec![round::v1::MemberDigest {
            member: 2,
            digest: digest.clone(),
        }],
        signature: signature.clone(),
    };
    let sealed = vec![round::v1::SealedShare {
        member: 2,
        sealed: vec![4; 80],
    }];
    let seal = round::v1::UpdateSeal {
        member: 1,
        tree_hash: digest.clone(),
        signature: signature.clone(),
    };
    let confirmation = round::v1::Confirmation {
        member: 1,
        signature: signature.clone(),
        u2: digest.clone(),
        u3: digest.clone(),
        inputs_root: digest.clone(),
        log_head: digest.clone(),
    };
    let share = |owner| round::v1::SecretShare {
        owner,
        share: [&[5][..], &[0; 31]].concat(),
    };
    let vote = consent::v1::Vote {
        organisation: "clinic-1".to_owned(),
        contract: digest.clone(),
        approve: true,
        reason: "policy".to_owned(),
        signature: signature.clone(),
    };
    write("wire-round-open", open.encode_to_vec());
    write("wire-advert", advert.encode_to_vec());
    let share_keys = round::v1::ShareKeysRequest {
        id: id.clone(),
        statement: Some(statement.clone()),
        sealed: sealed.clone(),
    };
    write("wire-share-keys", share_keys.encode_to_vec());
    write("wire-seal", seal.encode_to_vec());
    let survivors = round::v1::Survivors {
        id: id.clone(),
        members: vec![1, 2, 3, 4],
        inputs_root: digest.clone(),
        signature: signature.clone(),
    };
    write("wire-survivors", survivors.encode_to_vec());
    write("wire-confirmation", confirmation.encode_to_vec());
    let unmask = round::v1::UnmaskRequest {
        id: id.clone(),
        member: 1,
        self_mask: vec![share(1), share(2)],
        mask_key: vec![share(3)],
        signature: signature.clone(),
    };
    write("wire-unmask", unmask.encode_to_vec());
    let dealt = convert::share_keys_from_wire(share_keys).unwrap().1;
    blame(&open, &advert, &dealt, &id);
    let result = round::v1::RoundResult {
        id: id.clone(),
        context: digest.clone(),
        survivors: vec![1, 2, 3, 4],
        aggregate: digest,
        signature,
    };
    write("wire-result", result.encode_to_vec());
    write("wire-vote", vote.encode_to_vec());
    let approval = consent::v1::Approval {
        job: "job-1".to_owned(),
        votes: vec![vote],
    };
    write("wire-approval", approval.encode_to_vec());
    key_release(approval);
    let delivery = round::v1::SharesDelivery {
        id,
        statements: vec![statement.encode_to_vec().into()],
        sealed,
        ..round::v1::SharesDelivery::default()
    };
    let event = round::v1::follow_response::Event::SharesDelivery(delivery);
    let response = round::v1::FollowResponse { event: Some(event) };
    write("wire-directive", response.encode_to_vec());
    write(
        "wire-job",
        convert::job_to_wire(&job_document()).encode_to_vec(),
    );
    let job = Job::new(job_document()).unwrap();
    let plan = Plan::derive(&job).unwrap();
    write(
        "wire-plan",
        convert::plan_to_wire(&job, &plan).encode_to_vec(),
    );
    write_as(
        "wire-job",
        "fedavg",
        convert::job_to_wire(&averaged_document()).encode_to_vec(),
    );
    let chunk = round::v1::MaskedChunk {
        index: 0,
        data: vec![6; 200].into(),
    };
    let part = round::v1::submit_update_request::Part::Chunk(chunk);
    write(
        "wire-chunk",
        round::v1::SubmitUpdateRequest { part: Some(part) }.encode_to_vec(),
    );
}
