//! A participant that is no program of ours speaks through `consort uplink`: this story is that participant.

use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};

use consort_contract::{IdentitySecret, Job, JobId, OrganisationId, Vote};
use consort_participant::Config;
use consort_proto::convert::{job_from_wire, plan_from_wire, vote_to_wire};
use consort_proto::wire::consent::v1::consent_service_client::ConsentServiceClient;
use consort_proto::wire::consent::v1::{CastVoteRequest, Proposal};
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::round_service_client::RoundServiceClient;
use consort_proto::wire::round::v1::{FetchModelRequest, FollowRequest};
use consort_proto::wire::uplink::v1::DescribeRequest;
use consort_proto::wire::uplink::v1::uplink_service_client::UplinkServiceClient;
use tonic::transport::Channel;

use crate::consortium::Consortium;
use crate::program::{consort, run};

/// Who speaks through the uplink.
const SECOND: &str = "clinic-4";

/// An uplink that ends with this value.
struct Uplink {
    process: Child,
    port: String,
}

impl Uplink {
    fn of(consortium: &Consortium) -> Self {
        let mut command = consort();
        command
            .args(["uplink", "--dangerous-local", "0", "--config"])
            .arg(consortium.path(SECOND).join("config.toml"));
        let mut process = command
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        let mut dangerous = false;
        let port = lines.find_map(|line| {
            let line = line.unwrap();
            dangerous |= line.contains("dangerous_local");
            let (_, rest) = line.split_once("the uplink listens address=127.0.0.1:")?;
            rest.split(' ').next().map(str::to_owned)
        });
        assert!(dangerous, "what is dangerous is said before it is offered");
        // Else the pipe fills up and the uplink waits for a reader.
        std::thread::spawn(move || lines.for_each(drop));
        let port = port.unwrap();
        Self { process, port }
    }

    async fn channel(&self) -> Channel {
        let url = format!("http://127.0.0.1:{}", self.port);
        Channel::from_shared(url).unwrap().connect().await.unwrap()
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        // It has ended already where this fails.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn a_no_that_is_signed_with_the_members_key_and_sent_through_the_uplink_ends_the_job() {
    let consortium = Consortium::founded();
    let running = consortium.run(&["clinic-1", "clinic-2", "clinic-3"]);
    let uplink = Uplink::of(&consortium);
    let config = Config::load(&consortium.path(SECOND).join("config.toml")).unwrap();
    let identity = config
        .node
        .identity(&config.node.state_key_file().unwrap())
        .unwrap();
    let speaker = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        runtime.block_on(votes_no(uplink.channel(), identity));
        uplink
    });
    let (status, said) = running.submit_and_watch();
    assert_eq!(status, Some(3), "{said}");
    for part in [SECOND, "not on a Sunday", "vote_refused"] {
        assert!(said.contains(part), "{part} is not in: {said}");
    }
    drop(speaker.join().unwrap());
}

async fn votes_no(channel: impl Future<Output = Channel>, identity: IdentitySecret) {
    let channel = channel.await;
    let described = UplinkServiceClient::new(channel.clone())
        .describe(DescribeRequest {})
        .await
        .unwrap()
        .into_inner();
    assert_eq!(described.organisation, SECOND);
    assert_eq!(described.members.len(), 4);
    assert_eq!(
        described.members[3].identity,
        identity.public().as_bytes().to_vec()
    );
    assert!(described.dangerous_simulated_attestation);

    let mut rounds = RoundServiceClient::new(channel.clone());
    let proposal = proposed(&mut rounds).await;
    // What the coordinator refuses comes through with its reason.
    let fetched = rounds.fetch_model(FetchModelRequest {
        job: proposal.job.clone(),
        model: vec![0; 32],
    });
    let refused = fetched.await.unwrap_err();
    assert_eq!(
        consort_proto::errors::code_of(&refused).as_deref(),
        Some("model_not_current")
    );

    let id = JobId::new(&proposal.job).unwrap();
    let job = Job::new(job_from_wire(proposal.spec).unwrap()).unwrap();
    let contract = plan_from_wire(&job, proposal.plan)
        .unwrap()
        .contract_hash(&job);
    let name = OrganisationId::new(SECOND).unwrap();
    let answer = Err("not on a Sunday".to_owned());
    let vote = Vote::cast(&id, &name, contract, answer, &identity);
    let request = CastVoteRequest {
        job: proposal.job,
        vote: Some(vote_to_wire(&vote)),
    };
    let mut consent = ConsentServiceClient::new(channel);
    consent.cast_vote(request).await.unwrap();
}

/// The first proposal that is heard; jobs that ended before are told as well.
async fn proposed(rounds: &mut RoundServiceClient<Channel>) -> Proposal {
    loop {
        let follow = rounds.follow(FollowRequest {
            instance: vec![7; 16],
        });
        // The coordinator may still be starting.
        let Ok(followed) = follow.await else {
            tokio::time::sleep(std::time::Duration::from_millis(100)).await;
            continue;
        };
        let mut events = followed.into_inner();
        while let Ok(Some(said)) = events.message().await {
            if let Some(Event::Proposal(proposal)) = said.event {
                return proposal;
            }
        }
    }
}

#[test]
fn no_daemon_of_an_organisation_runs_beside_its_uplink() {
    let consortium = Consortium::founded();
    let _uplink = Uplink::of(&consortium);
    // Else it is the metrics' port that they cannot share.
    consortium.edit("clinic-4/config.toml", |text| {
        let lines = text.lines();
        lines
            .filter(|line| !line.starts_with("metrics_address"))
            .map(|line| format!("{line}\n"))
            .collect()
    });
    let (status, said) = consortium.serve(SECOND).ended();
    assert_eq!(status, Some(1), "{said}");
    assert!(said.contains("the state does not open"), "{said}");
}

#[test]
fn an_uplink_listens_on_loopback_or_not_at_all() {
    for address in ["0.0.0.0:0", "192.0.2.1:7500"] {
        let output = run(&["uplink", "--config", "none", "--dangerous-local", address]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("uplink_not_loopback"), "{said}");
    }
}
