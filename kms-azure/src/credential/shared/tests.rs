//! One token for all: renewed early, asked for once, and left alone after failures.

use core::sync::atomic::{AtomicU64, Ordering};
use std::time::UNIX_EPOCH;

use futures_util::future::join_all;
use kms_core::TokioClock;
use tokio::sync::Semaphore;

use super::*;

const SCOPE: &str = "https://vault.azure.net/.default";
const HOUR: Duration = Duration::from_secs(3600);
const MINUTE: Duration = Duration::from_secs(60);

/// tokio's clock, which stands still in these tests until all wait for it; and the date.
#[derive(Debug)]
struct Date(TokioClock);

impl Clock for Date {
    fn now(&self) -> Tick {
        self.0.now()
    }

    fn wall_time(&self) -> SystemTime {
        UNIX_EPOCH + self.now().since(Tick::ORIGIN)
    }

    fn sleep_until(&self, tick: Tick) -> kms_core::Sleep {
        self.0.sleep_until(tick)
    }
}

/// Hands out `token-1`, `token-2` and so on, each good for an hour.
#[derive(Debug)]
struct Service {
    clock: Arc<Date>,
    asked: AtomicU64,
    failure: Mutex<Option<Error>>,
    /// How many answers may be given.
    answers: Semaphore,
}

#[async_trait]
impl TokenSource for Arc<Service> {
    async fn fetch(&self, scope: &str) -> Result<AccessToken, Error> {
        assert_eq!(scope, SCOPE);
        let number = self.asked.fetch_add(1, Ordering::SeqCst) + 1;
        self.answers.acquire().await.unwrap().forget();
        if let Some(failure) = self.failure.lock().unwrap().clone() {
            return Err(failure);
        }
        let end = self.clock.wall_time() + HOUR;
        Ok(AccessToken::new(format!("token-{number}"), end.into()))
    }
}

struct Lab {
    service: Arc<Service>,
    credential: Credential,
}

impl Lab {
    fn new(answers: usize) -> Self {
        let clock = Arc::new(Date(TokioClock::new()));
        let service = Arc::new(Service {
            clock: Arc::clone(&clock),
            asked: AtomicU64::new(0),
            failure: Mutex::default(),
            answers: Semaphore::new(answers),
        });
        let random = Arc::new(kms_core::OsRandom);
        let credential =
            Credential::over(Box::new(Arc::clone(&service)), "test".into(), clock, random);
        Self {
            service,
            credential,
        }
    }

    async fn token(&self) -> Result<String, Error> {
        let token = self.credential.token(SCOPE).await?;
        Ok(token.token.secret().to_owned())
    }

    fn asked(&self) -> u64 {
        self.service.asked.load(Ordering::SeqCst)
    }

    fn fail(&self, error: Option<Error>) {
        *self.service.failure.lock().unwrap() = error;
    }
}

fn down() -> Error {
    Error::new(ErrorKind::Unavailable, "down")
}

async fn after(time: Duration) {
    tokio::time::sleep(time).await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_callers_are_one_request() {
    let lab = Lab::new(1000);
    let tokens = join_all((0..1000).map(|_| lab.token())).await;
    assert!(tokens.into_iter().all(|token| token.unwrap() == "token-1"));
    assert_eq!(lab.asked(), 1);
}

/// A caller's deadline must not keep all of them from ever having a token.
#[tokio::test(start_paused = true)]
async fn a_request_goes_on_when_its_caller_leaves() {
    let lab = Lab::new(0);
    let impatient = tokio::time::timeout(Duration::from_secs(3), lab.token());
    assert!(impatient.await.is_err());
    lab.service.answers.add_permits(1);
    assert_eq!(lab.token().await.unwrap(), "token-1");
    assert_eq!(lab.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn it_is_renewed_in_the_background_at_half_of_its_life() {
    let lab = Lab::new(1);
    lab.token().await.unwrap();
    after(29 * MINUTE).await;
    assert_eq!(lab.token().await.unwrap(), "token-1");
    assert_eq!(lab.asked(), 1);
    after(MINUTE).await;
    // The service is slow, and nobody waits for it.
    for _ in 0..10 {
        assert_eq!(lab.token().await.unwrap(), "token-1");
    }
    lab.service.answers.add_permits(1);
    after(Duration::from_secs(1)).await;
    assert_eq!(lab.token().await.unwrap(), "token-2");
    assert_eq!(lab.asked(), 2);
}

/// Azure/kubernetes-kms#52: an outage of the token service, and no storm.
#[tokio::test(start_paused = true)]
async fn an_outage_of_half_an_hour_is_not_noticed() {
    let lab = Lab::new(1000);
    lab.token().await.unwrap();
    after(30 * MINUTE).await;
    lab.fail(Some(down()));
    for _ in 0..(29 * 60 - 1) {
        assert_eq!(lab.token().await.unwrap(), "token-1");
        after(Duration::from_secs(1)).await;
    }
    // About one a minute.
    assert!((29..90).contains(&lab.asked()), "{}", lab.asked());
    after(2 * MINUTE).await;
    assert_eq!(
        lab.token().await.unwrap_err().kind(),
        ErrorKind::Unavailable
    );
    lab.fail(None);
    after(MINUTE).await;
    assert!(lab.token().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn after_a_failure_there_is_a_pause() {
    let lab = Lab::new(1000);
    lab.fail(Some(down()));
    for _ in 0..100 {
        let error = lab.token().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.retry_after().unwrap() <= BASE_PAUSE);
    }
    assert_eq!(lab.asked(), 1);
    after(BASE_PAUSE).await;
    assert!(lab.token().await.is_err());
    assert_eq!(lab.asked(), 2);
    // What the service says counts more.
    lab.fail(Some(
        Error::new(ErrorKind::Throttled, "429").with_retry_after(5 * MINUTE),
    ));
    after(MINUTE).await;
    assert!(lab.token().await.is_err());
    after(4 * MINUTE).await;
    assert_eq!(lab.token().await.unwrap_err().kind(), ErrorKind::Throttled);
    assert_eq!(lab.asked(), 3);
    lab.fail(None);
    after(MINUTE).await;
    assert_eq!(lab.token().await.unwrap(), "token-4");
}

#[tokio::test(start_paused = true)]
async fn a_service_that_hangs_is_given_up() {
    let lab = Lab::new(0);
    let error = lab.token().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    lab.service.answers.add_permits(1);
    after(MINUTE).await;
    assert_eq!(lab.token().await.unwrap(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn a_refused_token_is_renewed_unless_it_is_new() {
    let lab = Lab::new(1000);
    assert_eq!(lab.token().await.unwrap(), "token-1");
    lab.credential.refused("token-1");
    assert_eq!(
        lab.token().await.unwrap(),
        "token-1",
        "the next would be refused too"
    );
    after(MINUTE).await;
    lab.credential.refused("token-0");
    assert_eq!(lab.token().await.unwrap(), "token-1");
    lab.credential.refused("token-1");
    assert_eq!(lab.token().await.unwrap(), "token-2");
}

#[tokio::test(start_paused = true)]
async fn the_sdk_is_never_the_one_to_keep_it() {
    let lab = Lab::new(1000);
    let token = lab.credential.get_token(&[SCOPE], None).await.unwrap();
    assert_eq!(token.expires_on, OffsetDateTime::UNIX_EPOCH);
    assert!(lab.credential.get_token(&[], None).await.is_err());
    assert!(
        lab.credential
            .get_token(&[SCOPE, SCOPE], None)
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn the_scopes_are_bounded() {
    let lab = Lab::new(0);
    for number in 0..MAX_SCOPES {
        assert!(matches!(
            lab.credential.0.look(&number.to_string()),
            Ok(Look::Wait(_))
        ));
    }
    let error = lab.credential.check("one too many").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}
