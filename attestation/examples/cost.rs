//! What a verification costs, per evidence and for a round of 100 peers: `cargo run --release -p consort-attestation --example cost`.
//!
//! Uncached is a verifier that has never seen the certificate; cached is one that has. Times are of one thread; of many runs the
//! shortest and the median are told, since other work on the machine only ever adds. With `CONSORT_SNP_VECTORS` the evidence is
//! AMD's own, with RSA-4096; without it is simulated, with RSA-2048, and mutually attested connections on loopback are measured too, each
//! from the SYN to the last verdict: both sides sign and judge evidence, in one process on as many threads as it is given.
#![expect(clippy::unwrap_used, reason = "a measurement")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use consort_attestation::channel::{
    ChannelSettings, ClientChannel, InForce, ManifestId, PeerDirectory, Refused, Rules,
    ServerChannel, accept, connect,
};
use consort_attestation::simulated::{SimulatedMachine, SimulatedVendor};
use consort_attestation::statements::SessionContext;
use consort_attestation::{
    Attester, ChipId, Evidence, Expected, HostData, IdentityKey, MachineBinding, Measurement,
    Policy, Product, ReportData, Role, Tcb, TrustStore, Verifier, certificate_der,
};
use ed25519_dalek::SigningKey;
use tokio::net::TcpListener;

const RUNS: usize = 50;
const PEERS: usize = 100;

fn main() {
    let (name, policy, store, evidence, now) = match std::env::var_os("CONSORT_SNP_VECTORS") {
        Some(directory) => genuine(Path::new(&directory)),
        None => simulated(),
    };
    let verifier = || Verifier::new(policy.clone(), &store).unwrap();
    // It is asked for what it says: REPORT_DATA, HOST_DATA and CHIP_ID (AMD 56860, table 23).
    let report = evidence.report();
    let machine = MachineBinding {
        chip_id: ChipId::new(report[0x1A0..0x1E0].try_into().unwrap()),
        host_data: HostData::new(report[0xC0..0xE0].try_into().unwrap()),
    };
    let expected = Expected {
        machine: &machine,
        report_data: ReportData::new(report[0x50..0x90].try_into().unwrap()),
    };
    let judge = |verifier: &Verifier| verifier.verify(&evidence, &expected, now).unwrap();
    let uncached = times(RUNS, || {
        let fresh = verifier();
        let start = Instant::now();
        judge(&fresh);
        start.elapsed()
    });
    let warm = verifier();
    judge(&warm);
    let cached = times(RUNS, || {
        let start = Instant::now();
        judge(&warm);
        start.elapsed()
    });
    let round = times(5, || {
        let start = Instant::now();
        for _ in 0..PEERS {
            judge(&warm);
        }
        start.elapsed()
    });
    println!("{name}");
    println!("uncached      {}", told(&uncached));
    println!("cached        {}", told(&cached));
    println!("{PEERS} peers     {}", told(&round));
    if std::env::var_os("CONSORT_SNP_VECTORS").is_none() {
        println!("connect       {}", told(&connects()));
    }
}

/// The machines of a coordinator and of a participant, both of one make.
struct Two([SimulatedMachine; 2]);

impl PeerDirectory for Two {
    fn expected(&self, role: Role, _: &str, _: &IdentityKey) -> Result<MachineBinding, Refused> {
        let place = usize::from(role == Role::Participant);
        Ok(self.0[place].binding())
    }

    fn owner(&self, _: Role, _: &MachineBinding) -> Option<String> {
        None
    }
}

/// How long a mutually attested connection takes to open, TCP_NODELAY as the daemons have it.
fn connects() -> Vec<Duration> {
    let (vendor, policy, machine, now) = world();
    let other = SimulatedMachine {
        chip_id: ChipId::new([0xC2; 64]),
        ..machine
    };
    let store = vendor.trust_store().unwrap();
    let rules = || Rules {
        verifier: Arc::new(Verifier::new(policy.clone(), &store).unwrap()),
        directory: Arc::new(Two([machine, other])),
        manifest: ManifestId {
            version: 1,
            hash: [1; 32],
        },
        replaces: None,
        context: SessionContext::new(1, &[7; 32], &[1; 32], b""),
    };
    let settings = |organisation: &str, seed, machine| ChannelSettings {
        organisation: organisation.to_owned(),
        identity: SigningKey::from_bytes(&[seed; 32]),
        attester: Arc::new(vendor.attester(machine, now).unwrap()),
        in_force: Arc::new(InForce::new(rules())),
        clock: SystemTime::now,
    };
    let server = ServerChannel::new(settings("operator", 1, machine)).unwrap();
    let client = ClientChannel::new(settings("clinic", 2, other)).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                accept(stream, &server).await.unwrap();
            }
        });
        let mut times = Vec::new();
        for _ in 0..RUNS {
            let start = Instant::now();
            connect(address, &client).await.unwrap();
            times.push(start.elapsed());
        }
        times.sort();
        times
    })
}

fn times(runs: usize, mut run: impl FnMut() -> Duration) -> Vec<Duration> {
    let mut times: Vec<_> = (0..runs).map(|_| run()).collect();
    times.sort();
    times
}

fn told(sorted: &[Duration]) -> String {
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let (least, median) = (ms(sorted[0]), ms(sorted[sorted.len() / 2]));
    format!("least {least:8.3} ms, median {median:8.3} ms")
}

type World = (&'static str, Policy, TrustStore, Evidence, SystemTime);

fn genuine(directory: &Path) -> World {
    let read = |file: &str| std::fs::read(directory.join(file)).unwrap();
    let mut store = TrustStore::new();
    store
        .add_pem_bundle(&read("roots/genoa_ask_ark_asvk.pem"))
        .unwrap();
    let report: [u8; 1184] = read("genoa/oak.genoa_oc.report.bin").try_into().unwrap();
    let vcek = certificate_der(&read("genoa/oak.genoa_oc.vcek.der")).unwrap();
    let root = store.root_hashes()[0];
    let measurement = hex::encode(&report[0x90..0xC0]);
    let policy = format!(
        "[trust]\nroots = [\"{}\"]\ncrl = \"if-given\"\n[snp]\nreport_versions = [5]\nallow_smt = true\nmeasurements = [\"{measurement}\"]\n\
         [snp.min_tcb.genoa]\nbootloader = 0\ntee = 0\nsnp = 0\nmicrocode = 0\n",
        hex::encode(root),
    );
    let policy = Policy::from_toml(&policy).unwrap();
    // 2025-11-01: inside the VCEK's validity.
    let now = UNIX_EPOCH + Duration::from_secs(1_761_955_200);
    let evidence = Evidence::new(report, vcek).unwrap();
    ("genuine, Genoa, RSA-4096", policy, store, evidence, now)
}

fn simulated() -> World {
    let (vendor, policy, machine, now) = world();
    let attester = vendor.attester(machine, now).unwrap();
    let evidence = attester.attest(ReportData::new([0x5A; 64])).unwrap();
    let store = vendor.trust_store().unwrap();
    ("simulated, Genoa, RSA-2048", policy, store, evidence, now)
}

fn world() -> (SimulatedVendor, Policy, SimulatedMachine, SystemTime) {
    let now = SystemTime::now();
    let tcb = Tcb {
        fmc: None,
        bootloader: 10,
        tee: 0,
        snp: 25,
        microcode: 84,
    };
    let machine = SimulatedMachine {
        chip_id: ChipId::new([0xC1; 64]),
        measurement: Measurement::new([0x4D; 48]),
        host_data: HostData::new([0x4F; 32]),
        tcb,
    };
    let vendor = SimulatedVendor::create(Product::Genoa, now).unwrap();
    let policy = format!(
        "[trust]\nroots = []\ndangerous_simulated_roots = [\"{}\"]\n[snp]\nreport_versions = [3]\nmeasurements = [\"{}\"]\n\
         [snp.min_tcb.genoa]\nbootloader = 10\ntee = 0\nsnp = 25\nmicrocode = 84\n",
        hex::encode(vendor.root_hash().unwrap()),
        machine.measurement,
    );
    let policy = Policy::from_toml(&policy).unwrap();
    (vendor, policy, machine, now)
}
