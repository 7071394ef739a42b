//! The stream on which a member is asked and told: what holds now, and again whenever it changes.

use std::sync::Arc;
use std::time::Duration;

use consort_contract::OrganisationId;
use consort_proto::errors;
use consort_proto::wire::round::v1::follow_response::Event;
use consort_proto::wire::round::v1::{FollowResponse, Heartbeat};
use tokio::sync::mpsc;
use tonic::{Code, Status};

use crate::driver::{Desk, Link, Said, Wish};

/// Pause between two heartbeats: a participant notices a dead link within a few of them.
const HEARTBEAT: Duration = Duration::from_secs(5);

/// Says everything that is wanted of a member until its stream ends or a newer one replaces it.
pub(super) async fn follow(
    desk: Arc<Desk>,
    member: OrganisationId,
    link: Link,
    sender: mpsc::Sender<Result<FollowResponse, Status>>,
) {
    let mut watcher = desk.services().board.watch();
    let mut said: Vec<Said> = Vec::new();
    loop {
        watcher.borrow_and_update();
        let Some(wanted) = desk.services().board.wanted(&member, &link) else {
            // Whoever is gone hears it no more; a second process of the organisation is told why it is not asked.
            let _ = sender.send(Err(replaced())).await;
            break;
        };
        let is_new = |wish: &&Wish| !said.iter().any(|known| wish.is(known));
        let news: Vec<_> = wanted.iter().filter(is_new).map(Wish::said).collect();
        said = wanted.iter().map(Wish::said).collect();
        // While it waits for a slow stream, a follower holds nothing of what it is about to say.
        drop(wanted);
        let mut gone = false;
        for wish in &news {
            gone = gone || !say(wish, &sender).await;
        }
        let beat = tokio::select! {
            changed = watcher.changed() => {
                gone |= changed.is_err();
                false
            }
            () = tokio::time::sleep(HEARTBEAT) => true,
            () = sender.closed() => {
                gone = true;
                false
            }
        };
        if beat {
            gone |= sender
                .send(Ok(FollowResponse {
                    event: Some(Event::Heartbeat(Heartbeat {})),
                }))
                .await
                .is_err();
        }
        if gone {
            break;
        }
    }
    desk.services().board.disconnect(&member, &link);
    tracing::debug!(%member, "a member's stream ended");
    record_connected(&desk);
}

/// Says a message part by part, each when there is room for it, while it is still wished for; false when the stream is gone.
async fn say(wish: &Said, sender: &mpsc::Sender<Result<FollowResponse, Status>>) -> bool {
    let Ok(mut room) = sender.reserve().await else {
        return false;
    };
    for event in wish.parts() {
        if wish.is_over() {
            return true;
        }
        room.send(Ok(FollowResponse { event: Some(event) }));
        match sender.reserve().await {
            Ok(next) => room = next,
            Err(_) => return false,
        }
    }
    true
}

fn replaced() -> Status {
    errors::status(
        Code::Aborted,
        "stream_replaced",
        "a newer stream of this organisation took over; if two processes speak for it, end one of them",
    )
}

/// Shows how many members are connected.
pub(super) fn record_connected(desk: &Desk) {
    let connected = u32::try_from(desk.services().board.connected()).unwrap_or(u32::MAX);
    metrics::gauge!("consort_members_connected").set(connected);
}
