//! What is under way: each effect that takes time, as a future beside the others.

use core::future::poll_fn;
use core::pin::Pin;
use core::task::Poll;
use std::sync::{Arc, Mutex, PoisonError};

use kms_core::{CallOptions, Clock, Error};
use kms_envelope::rotation::{Activity, Effect, Event, Expectation, Observation, TaskId};

use super::Driver;
use crate::Failure;
use crate::rotation::{
    CensusOrder, Convergence, Doubt, MigrationOrder, Parts, PassProgress, PassSummary, Verified,
    WriterStates,
};

type Pending = Pin<Box<dyn Future<Output = Ending> + Send>>;

/// How something that was under way has ended.
pub(super) enum Ending {
    Looked(Result<Observation, Error>),
    Checked {
        expectation: Expectation,
        found: Convergence,
        event: Box<Event>,
    },
    Migrated(TaskId, PassSummary),
    Verified(TaskId, Box<Verified>),
    Failed(TaskId, Activity, Failure),
    Doubt(Doubt),
}

struct Running {
    /// None for a look at the provider.
    effect: Option<Effect>,
    future: Pending,
}

/// All that is under way. Dropping it stops everything.
pub(super) struct Work {
    parts: Parts,
    clock: Arc<dyn Clock>,
    cluster_id: String,
    running: Vec<Running>,
    /// How far a pass has come, if that was not told yet.
    progress: Arc<Mutex<Option<PassProgress>>>,
}

impl Work {
    pub(super) fn new(driver: &Driver, cluster_id: &str) -> Self {
        Self {
            parts: driver.parts.clone(),
            clock: Arc::clone(&driver.clock),
            cluster_id: cluster_id.to_owned(),
            running: Vec::new(),
            progress: Arc::default(),
        }
    }

    /// Whether anything is under way.
    pub(super) const fn is_idle(&self) -> bool {
        self.running.is_empty()
    }

    /// Whether the provider is being looked at.
    pub(super) fn is_looking(&self) -> bool {
        self.running.iter().any(|running| running.effect.is_none())
    }

    /// How far a pass has come since this was last asked.
    pub(super) fn take_progress(&self) -> Option<PassProgress> {
        let mut progress = self.progress.lock().unwrap_or_else(PoisonError::into_inner);
        progress.take()
    }

    /// Looks at the provider.
    pub(super) fn look(&mut self, driver: &Driver) {
        let keys = Arc::clone(&self.parts.keys);
        let clock = Arc::clone(&self.clock);
        let timeout = driver.options.call_timeout;
        let future = async move {
            let deadline = clock.now() + timeout;
            let call = CallOptions::default().with_deadline(deadline);
            Ending::Looked(tokio::select! {
                biased;
                seen = keys.observe(&call) => seen,
                () = clock.sleep_until(deadline) => Err(Error::new(
                    kms_core::ErrorKind::DeadlineExceeded,
                    "the provider does not answer in time",
                )),
            })
        };
        self.running.push(Running {
            effect: None,
            future: Box::pin(future),
        });
    }

    /// Begins what an effect asks for, unless that very thing is under way. Says whether it is
    /// something that a driver can do.
    pub(super) fn begin(&mut self, effect: &Effect) -> bool {
        let Some(future) = self.future_of(effect) else {
            return false;
        };
        let same = |running: &Running| running.effect.as_ref() == Some(effect);
        if !self.running.iter().any(same) {
            self.running.push(Running {
                effect: Some(effect.clone()),
                future,
            });
        }
        true
    }

    /// Stops what is not asked for any more.
    pub(super) fn keep_only(&mut self, outstanding: &[Effect]) {
        self.running.retain(|running| match &running.effect {
            Some(effect) => outstanding.contains(effect),
            None => true,
        });
    }

    /// Waits for the next thing to end.
    pub(super) async fn next(&mut self) -> Ending {
        poll_fn(|context| {
            let mut running = self.running.iter_mut().enumerate();
            let ended =
                running.find_map(
                    |(at, running)| match running.future.as_mut().poll(context) {
                        Poll::Ready(ending) => Some((at, ending)),
                        Poll::Pending => None,
                    },
                );
            match ended {
                Some((at, ending)) => {
                    self.running.swap_remove(at);
                    Poll::Ready(ending)
                }
                None => Poll::Pending,
            }
        })
        .await
    }

    fn future_of(&self, effect: &Effect) -> Option<Pending> {
        let parts = self.parts.clone();
        let cluster_id = self.cluster_id.clone();
        Some(match effect {
            Effect::CheckConvergence { task, expectation } => {
                Box::pin(check(parts, *task, expectation.clone(), cluster_id))
            }
            Effect::Migrate {
                task,
                target,
                rewrite,
                scope,
            } => {
                let order = MigrationOrder {
                    task: *task,
                    target: target.clone(),
                    rewrite: *rewrite,
                    scope: *scope,
                };
                let progress = Arc::clone(&self.progress);
                Box::pin(migrate(parts, order, cluster_id, progress))
            }
            Effect::Verify { task, target, keys } => {
                let order = CensusOrder {
                    target: target.clone(),
                    keys: keys.clone(),
                    writers: WriterStates::default(),
                };
                Box::pin(verify(parts, *task, order, cluster_id))
            }
            _ => return None,
        })
    }
}

/// The objects are those of the cluster that the state is of; else nothing may be done to them.
async fn is_same_cluster(parts: &Parts, cluster_id: &str) -> Result<Option<Doubt>, Failure> {
    let identity = parts.objects.identity().await?;
    if identity.cluster_id.as_deref() == Some(cluster_id) {
        return Ok(None);
    }
    Ok(Some(Doubt::OtherCluster {
        state: cluster_id.to_owned(),
        objects: identity.cluster_id,
    }))
}

async fn check(parts: Parts, task: TaskId, expectation: Expectation, cluster_id: String) -> Ending {
    let failed = |failure| Ending::Failed(task, Activity::Converging, failure);
    let found = match parts.writers.check(&expectation).await {
        Ok(found) => found,
        Err(failure) => return failed(failure),
    };
    // Read after the last of them has answered.
    let identity = match parts.objects.identity().await {
        Ok(identity) => identity,
        Err(failure) => return failed(failure),
    };
    if identity.cluster_id.as_deref() != Some(&*cluster_id) {
        return Ending::Doubt(Doubt::OtherCluster {
            state: cluster_id,
            objects: identity.cluster_id,
        });
    }
    let event = match found.lagging {
        0 => Event::Converged {
            task,
            revision: identity.revision,
        },
        replicas => Event::Lagging { task, replicas },
    };
    Ending::Checked {
        expectation,
        found,
        event: Box::new(event),
    }
}

async fn migrate(
    parts: Parts,
    order: MigrationOrder,
    cluster_id: String,
    progress: Arc<Mutex<Option<PassProgress>>>,
) -> Ending {
    let failed = |failure| Ending::Failed(order.task, Activity::Migrating, failure);
    match is_same_cluster(&parts, &cluster_id).await {
        Ok(None) => {}
        Ok(Some(doubt)) => return Ending::Doubt(doubt),
        Err(failure) => return failed(failure),
    }
    let note = move |now| {
        let mut progress = progress.lock().unwrap_or_else(PoisonError::into_inner);
        *progress = Some(now);
    };
    match parts.objects.migrate(&order, &note).await {
        Ok(summary) => Ending::Migrated(order.task, summary),
        Err(failure) => failed(failure),
    }
}

async fn verify(parts: Parts, task: TaskId, mut order: CensusOrder, cluster_id: String) -> Ending {
    let failed = |failure| Ending::Failed(task, Activity::Verifying, failure);
    match is_same_cluster(&parts, &cluster_id).await {
        Ok(None) => {}
        Ok(Some(doubt)) => return Ending::Doubt(doubt),
        Err(failure) => return failed(failure),
    }
    order.writers = parts.writers.states(&order.target).await;
    match parts.objects.verify(&order).await {
        Ok(verified) => Ending::Verified(task, Box::new(verified)),
        Err(failure) => failed(failure),
    }
}
