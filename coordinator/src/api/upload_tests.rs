//! Uploads over real connections on loopback: the service's own code behind a gRPC server, the generated client before it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use consort_aggregation::{CHUNK_BYTES, MaskedUpdate};
use consort_proto::convert::{attempt_to_wire, seal_to_wire};
use consort_proto::errors::code_of;
use consort_round::Millis;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;
use tokio_stream::StreamExt;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Server};
use tonic::{Request, Response};
use wire::round_service_client::RoundServiceClient;
use wire::round_service_server::{RoundService, RoundServiceServer};

use super::*;
use crate::api::{CONNECTION_WINDOW_BYTES, Pieces, STREAM_WINDOW_BYTES};
use crate::driver::Now;
use crate::driver::Services;
use crate::driver::tests::cluster::{Cluster, services};
use crate::testing::{large_contract, organisation};

/// The two calls of an upload, for member 2; whom a connection belongs to is the gate's matter and has its own tests.
struct Loopback(Arc<Desk>);

#[tonic::async_trait]
impl RoundService for Loopback {
    type FollowStream = ReceiverStream<Result<wire::FollowResponse, Status>>;
    type FetchModelStream = Pieces<wire::FetchModelResponse>;

    async fn submit_update(
        &self,
        request: Request<Streaming<wire::SubmitUpdateRequest>>,
    ) -> Result<Response<wire::SubmitUpdateResponse>, Status> {
        receive(&self.0, &organisation(2), request.into_inner()).await?;
        Ok(Response::new(wire::SubmitUpdateResponse {}))
    }

    async fn upload_status(
        &self,
        request: Request<wire::UploadStatusRequest>,
    ) -> Result<Response<wire::UploadStatusResponse>, Status> {
        let status = progress(&self.0, &organisation(2), request.into_inner()).await;
        status.map(Response::new)
    }

    async fn follow(
        &self,
        _: Request<wire::FollowRequest>,
    ) -> Result<Response<Self::FollowStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn advertise(
        &self,
        _: Request<wire::AdvertiseRequest>,
    ) -> Result<Response<wire::AdvertiseResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn share_keys(
        &self,
        _: Request<wire::ShareKeysRequest>,
    ) -> Result<Response<wire::ShareKeysResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn confirm_survivors(
        &self,
        _: Request<wire::ConfirmSurvivorsRequest>,
    ) -> Result<Response<wire::ConfirmSurvivorsResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn unmask(
        &self,
        _: Request<wire::UnmaskRequest>,
    ) -> Result<Response<wire::UnmaskResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn report_blame(
        &self,
        _: Request<wire::ReportBlameRequest>,
    ) -> Result<Response<wire::ReportBlameResponse>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }

    async fn fetch_model(
        &self,
        _: Request<wire::FetchModelRequest>,
    ) -> Result<Response<Self::FetchModelStream>, Status> {
        Err(Status::unimplemented("not in these tests"))
    }
}

/// A coordinator that collects, and member 2's masked update of several chunks.
struct World {
    cluster: Cluster,
    key: AttemptKey,
    update: MaskedUpdate,
    seal: UpdateSeal,
}

/// A serving process: its tasks end with its runtime, whatever they are doing.
struct Served {
    desk: Arc<Desk>,
    services: Arc<Services>,
    address: SocketAddr,
    runtime: Runtime,
}

impl World {
    fn collecting() -> Self {
        let mut cluster = Cluster::of(large_contract(1));
        cluster.settle_until("collecting");
        let (key, update, seal) = cluster.mask(2);
        assert!(update.chunks().len() > 5);
        drop(cluster.driver.take());
        Self {
            cluster,
            key,
            update,
            seal,
        }
    }

    async fn serve(&self) -> Served {
        let clock: fn() -> Now = || Now {
            mono: Millis(0),
            unix_ms: 1,
        };
        let services = services(self.cluster.folder.path());
        let (faults, _) = mpsc::unbounded_channel();
        let desk = Arc::new(Desk::open(services.clone(), clock, faults).unwrap());
        let runtime = Runtime::new().unwrap();
        let listener = runtime
            .spawn(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .await;
        let listener = listener.unwrap().unwrap();
        let address = listener.local_addr().unwrap();
        let server = Server::builder()
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .add_service(RoundServiceServer::new(Loopback(desk.clone())))
            .serve_with_incoming(TcpListenerStream::new(listener));
        runtime.spawn(server);
        Served {
            services,
            desk,
            address,
            runtime,
        }
    }

    fn chunk(&self, index: usize) -> wire::SubmitUpdateRequest {
        let data = self.update.chunk(index).unwrap().to_vec().into();
        let index = u32::try_from(index).unwrap();
        request(Part::Chunk(wire::MaskedChunk { index, data }))
    }

    fn id(&self) -> wire::SubmitUpdateRequest {
        request(Part::Id(attempt_to_wire(&self.key)))
    }

    /// What a stream carries that goes on with this chunk.
    fn from(&self, first: usize) -> Vec<wire::SubmitUpdateRequest> {
        let chunks = first..self.update.chunks().len();
        let seal = request(Part::Seal(seal_to_wire(&self.seal)));
        std::iter::once(self.id())
            .chain(chunks.map(|index| self.chunk(index)))
            .chain([seal])
            .collect()
    }

    async fn status(&self, client: &mut RoundServiceClient<Channel>) -> wire::UploadStatusResponse {
        let id = Some(attempt_to_wire(&self.key));
        let status = client.upload_status(wire::UploadStatusRequest { id }).await;
        status.unwrap().into_inner()
    }

    /// Sends the first chunks on a connection of its own and cuts it when they are stored.
    async fn cut_after(&self, served: &Served, chunks: usize) {
        let mut client = served.client().await;
        let (sender, parts) = mpsc::channel(1);
        let call =
            tokio::spawn(async move { client.submit_update(ReceiverStream::new(parts)).await });
        sender.send(self.id()).await.unwrap();
        for index in 0..chunks {
            sender.send(self.chunk(index)).await.unwrap();
        }
        let mut other = served.client().await;
        while self.status(&mut other).await.next_chunk as usize != chunks {
            tokio::task::yield_now().await;
        }
        // No end of the stream, no seal: the connection is gone.
        call.abort();
        drop(sender);
    }
}

impl Served {
    async fn client(&self) -> RoundServiceClient<Channel> {
        let address = format!("http://{}", self.address);
        RoundServiceClient::connect(address).await.unwrap()
    }

    /// The process is killed; what it held of the disk is free afterwards.
    async fn kill(self) {
        self.runtime.shutdown_background();
        drop(self.desk);
        while Arc::strong_count(&self.services) > 1 {
            tokio::task::yield_now().await;
        }
    }
}

fn request(part: Part) -> wire::SubmitUpdateRequest {
    wire::SubmitUpdateRequest { part: Some(part) }
}

async fn submit(
    client: &mut RoundServiceClient<Channel>,
    parts: Vec<wire::SubmitUpdateRequest>,
) -> Result<(), String> {
    let answer = client.submit_update(tokio_stream::iter(parts)).await;
    answer
        .map(drop)
        .map_err(|status| code_of(&status).unwrap_or_else(|| status.to_string()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_that_was_cut_goes_on_at_the_chunk_that_the_coordinator_names() {
    let world = World::collecting();
    let served = world.serve().await;
    world.cut_after(&served, 3).await;
    let mut client = served.client().await;
    let status = world.status(&mut client).await;
    assert_eq!((status.next_chunk, status.sealed), (3, false));
    submit(&mut client, world.from(3)).await.unwrap();
    let status = world.status(&mut client).await;
    assert_eq!(status.next_chunk as usize, world.update.chunks().len());
    assert!(status.sealed);
    // The same again, whole or the seal alone, is a repeat.
    submit(&mut client, world.from(0)).await.unwrap();
    submit(&mut client, world.from(world.update.chunks().len()))
        .await
        .unwrap();
    served.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_is_there_after_the_coordinator_was_killed_and_started_again() {
    let world = World::collecting();
    let served = world.serve().await;
    world.cut_after(&served, 4).await;
    served.kill().await;
    let served = world.serve().await;
    let mut client = served.client().await;
    assert_eq!(world.status(&mut client).await.next_chunk, 4);
    submit(&mut client, world.from(4)).await.unwrap();
    assert!(world.status(&mut client).await.sealed);
    served.kill().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gaps_changes_and_streams_without_a_seal_are_refused_by_name_and_count_for_nothing() {
    let world = World::collecting();
    let served = world.serve().await;
    let mut client = served.client().await;
    let mut changed = world.chunk(0);
    if let Some(Part::Chunk(chunk)) = &mut changed.part {
        let mut data = chunk.data.to_vec();
        data[0] ^= 1;
        chunk.data = data.into();
    }
    let mut longer = world.chunk(0);
    if let Some(Part::Chunk(chunk)) = &mut longer.part {
        chunk.data = vec![0; CHUNK_BYTES + 1].into();
    }
    let nothing = wire::SubmitUpdateRequest { part: None };
    let seal = world.from(world.update.chunks().len());
    for (parts, code) in [
        (vec![world.chunk(0)], "update_order"),
        (vec![world.id(), nothing], "update_order"),
        (vec![world.id(), longer], "message_too_many_bytes"),
        (vec![world.id(), world.id()], "update_order"),
        (vec![world.id(), world.chunk(1)], "update_gap"),
        (vec![world.id(), world.chunk(0)], "update_unsealed"),
        (vec![world.id(), changed], "update_equivocation"),
        (
            vec![world.id(), world.chunk(0), world.chunk(2)],
            "update_gap",
        ),
        (seal, "update_incomplete"),
    ] {
        assert_eq!(submit(&mut client, parts).await.unwrap_err(), code);
    }
    let status = world.status(&mut client).await;
    assert_eq!((status.next_chunk, status.sealed), (1, false));
    submit(&mut client, world.from(1)).await.unwrap();
    served.kill().await;
}

/// Chunks that are on their way at most: the windows of the stream, what the sender's HTTP/2 holds (1 MiB), and those in hands.
const ON_THE_WAY: u64 = 12;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_stalls_holds_up_the_sender_and_fills_no_memory() {
    const REPEATS: u64 = 60;
    let world = World::collecting();
    let served = world.serve().await;
    let mut client = served.client().await;
    submit(&mut client, vec![world.id(), world.chunk(0)])
        .await
        .unwrap_err();
    let (upload, _) = find(&served.desk, &organisation(2), &world.key)
        .await
        .unwrap();

    let taken = Arc::new(AtomicU64::new(0));
    let (counter, chunk) = (taken.clone(), world.chunk(0));
    let chunks = (0..REPEATS).map(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        chunk.clone()
    });
    let parts = tokio_stream::once(world.id()).chain(tokio_stream::iter(chunks));
    let (ready, is_stalled) = tokio::sync::oneshot::channel();
    let stalled = tokio::task::spawn_blocking(move || {
        let disk = upload.stall();
        ready.send(()).unwrap();
        // Long enough for loopback to carry all of it many times over; a slow machine carries less and passes as well.
        std::thread::sleep(Duration::from_millis(500));
        let sent = taken.load(Ordering::Relaxed);
        drop(disk);
        (sent, taken)
    });
    is_stalled.await.unwrap();
    let code = client.submit_update(parts).await.unwrap_err();
    let (sent, taken) = stalled.await.unwrap();
    assert!(
        sent <= ON_THE_WAY,
        "{sent} chunks were taken from the sender"
    );
    assert_eq!(code_of(&code).as_deref(), Some("update_unsealed"));
    assert_eq!(taken.load(Ordering::Relaxed), REPEATS);
    served.kill().await;
}
