//! A coordinator that is busy says so, and means the request and not the connection: the same is asked again on it, after a while.

use std::future::Future;
use std::time::Duration;

use consort_proto::errors::code_of;
use rand_core::OsRng;
use tonic::Status;

use super::backoff::Backoff;

/// Wait after the first busy answer; later ones double. A job's queue is emptied within a second unless its disk is in trouble.
pub(super) const FIRST: Duration = Duration::from_secs(1);

/// Busy answers to one request, after which it counts as failed and its link as broken: some forty seconds of waits, longer than
/// most phases of a round last.
pub(super) const MOST: u32 = 10;

/// What a coordinator answers when too many requests wait for a job (docs/protocol.md, "Errors").
const BUSY: &str = "job_busy";

/// Calls until the answer is another one than that the job is busy; the last answer counts.
pub(super) async fn patiently<T, Answer: Future<Output = Result<T, Status>>>(
    first: Duration,
    mut call: impl FnMut() -> Answer,
) -> Result<T, Status> {
    let mut backoff = Backoff::from(first);
    for _ in 1..MOST {
        match call().await {
            Err(status) if code_of(&status).as_deref() == Some(BUSY) => {
                let wait = backoff.next_wait(&mut OsRng);
                tracing::debug!(?wait, "the job is busy; it is asked again");
                tokio::time::sleep(wait).await;
            }
            answer => return answer,
        }
    }
    call().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use consort_proto::errors;
    use tonic::Code;

    fn busy() -> Status {
        errors::status(Code::Unavailable, BUSY, "too many requests wait")
    }

    /// What comes of a call that is answered like this, and how often it was made.
    async fn asked(answers: impl Fn(u32) -> Result<u32, Status>) -> (Result<u32, Code>, u32) {
        let mut calls = 0;
        let answer = patiently(Duration::ZERO, || {
            calls += 1;
            std::future::ready(answers(calls))
        });
        let answer = answer.await.map_err(|status| status.code());
        (answer, calls)
    }

    #[tokio::test]
    async fn a_busy_job_is_asked_again_until_it_answers_and_no_more_than_ten_times() {
        let third = asked(|call| if call < 3 { Err(busy()) } else { Ok(call) });
        assert_eq!(third.await, (Ok(3), 3));
        let never = asked(|_| Err(busy()));
        assert_eq!(never.await, (Err(Code::Unavailable), MOST));
    }

    #[tokio::test]
    async fn a_connection_that_broke_and_a_refusal_are_told_at_once() {
        for status in [
            || Status::unavailable("the connection broke"),
            || errors::status(Code::FailedPrecondition, "vote_closed", "too late"),
        ] {
            let (answer, calls) = asked(|_| Err(status())).await;
            assert_eq!((answer, calls), (Err(status().code()), 1));
        }
    }
}
