//! A migration through the API, from its beginning to its report.

use core::fmt;
use core::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::{Either, select};
use kms_core::object::{ApiResource, ListOptions, Rewriter};
use kms_core::{Clock, Error as CoreError, Tick};

use super::checkpoint::Place;
use super::gate::Gate;
use super::place::{Unit, units};
use super::progress::{OnProgress, Pace};
use super::trouble::{Line, Next, Trouble};
use super::unit::{Walk, Walked};
use super::{
    ApiMigrationEnd, ApiMigrationOptions, ApiMigrationProgress, ApiMigrationReport, ApiScope,
    ApiStopReason, UnreadPlace,
};
use crate::Error;
use crate::reencrypt::CheckpointStore;

/// Brings objects to what API servers write with, through the API: lists them, and has each one
/// written again by an update that changes nothing.
///
/// # What holds
///
/// - Nobody's write is undone, and nothing is made, changed or deleted; see [`Rewriter`].
/// - What an API server holds for fresh is not written, so a migration can be run again at will.
/// - When all was gone through, and something was written, all is gone through once more, until a
///   pass finds nothing to write or [`passes`](ApiMigrationOptions::passes) are over. That is all
///   that can be verified on this path: that the API servers which answered hold the objects for
///   fresh. A server that does not know of the new key yet holds old data for fresh, so wait until
///   all servers use the new key before.
/// - With KMS v1, data under a provider's name is fresh whatever key it is under. If only the key
///   changed, nothing would be written, and the migration is refused:
///   [`kms_v1_names_are_new`](ApiMigrationOptions::kms_v1_names_are_new).
///
/// # What it does about failures
///
/// | failure | outcome |
/// |---|---|
/// | an object changed since it was listed | looked at again and rewritten, up to 16 times in a pass |
/// | the answer to a rewrite is lost | the same: repeating tells |
/// | the server asks to slow down | no request goes out for as long as it asks, or for 1 s, doubled up to 30 s |
/// | the server does not answer, or fails | tried again with pauses up to 10 s; after [`patience`](ApiMigrationOptions::patience) it stops, with a checkpoint |
/// | the server fails at one object, and not at others | reported, left as it is |
/// | the server fails at listing a resource, and not at other things | each namespace is listed for itself, and those that fail are reported |
/// | the server refuses an object (admission, validation, quota) | reported, left as it is |
/// | no rights on a resource, or on a namespace of it | reported, the rest goes on |
/// | the rest of a list is not kept any more | listed again; what has a verdict and did not change is passed over |
/// | who we are is not known any more, or the server breaks its protocol | stops, with a checkpoint |
/// | the checkpoint cannot be kept | stops |
#[derive(Clone, Copy)]
pub struct ApiMigration<'a> {
    rewriter: &'a dyn Rewriter,
    clock: &'a dyn Clock,
    options: &'a ApiMigrationOptions,
    checkpoints: Option<&'a dyn CheckpointStore>,
}

impl<'a> ApiMigration<'a> {
    /// A migration of what this server has. Does nothing yet.
    #[must_use]
    pub fn new(
        rewriter: &'a dyn Rewriter,
        clock: &'a dyn Clock,
        options: &'a ApiMigrationOptions,
    ) -> Self {
        Self {
            rewriter,
            clock,
            options,
            checkpoints: None,
        }
    }

    /// Keeps a checkpoint here.
    #[must_use]
    pub fn with_checkpoints(mut self, checkpoints: &'a dyn CheckpointStore) -> Self {
        self.checkpoints = Some(checkpoints);
        self
    }

    /// Whether these bytes are a checkpoint of such a migration, of this one or of another.
    #[must_use]
    pub fn is_checkpoint(bytes: &[u8]) -> bool {
        Place::read(bytes).is_ok()
    }

    /// Migrates, until all is done or `stop` ends. To stop at once, drop it.
    ///
    /// `progress` is told how far it has come, at most ten times a second.
    ///
    /// # Errors
    ///
    /// What kept it from beginning: [`ErrorKind::Checkpoint`](crate::ErrorKind::Checkpoint) if the
    /// checkpoint is of another migration; [`ErrorKind::Provider`](crate::ErrorKind::Provider) if
    /// a no-op update would write nothing, as with KMS v1 under an old name. What stops it later is
    /// in the report.
    pub async fn run(
        &self,
        stop: impl Future<Output = ()> + Send,
        mut progress: impl FnMut(&ApiMigrationProgress) + Send,
    ) -> Result<ApiMigrationReport, Error> {
        self.options.check()?;
        let began = self.clock.now();
        let keeper = Keeper {
            checkpoints: self.checkpoints.filter(|_| !self.options.dry_run),
            options: self.options,
            clock: self.clock,
            kept: Mutex::new(Kept::default()),
        };
        let mut place = match self.checkpoints {
            Some(checkpoints) if self.options.resume => match checkpoints.load().await? {
                Some(bytes) => Place::parse(&bytes, self.options)?,
                None => Place::new(self.options),
            },
            _ => Place::new(self.options),
        };
        let line = Line::new(
            self.rewriter,
            self.clock,
            Gate::new(self.clock, self.options.rate),
            self.options.patience,
        );
        keeper.commit(&place);
        keeper.save().await?;
        let ended = {
            let watch = async {
                stop.await;
                line.gate.stop();
                core::future::pending::<()>().await;
            };
            let passes = self.passes(&line, &keeper, &mut place, &mut progress);
            match select(pin!(passes), pin!(watch)).await {
                Either::Left((ended, _)) => ended,
                Either::Right(_) => Err(ApiStopReason::Asked),
            }
        };
        let ended = match ended {
            Ok(()) => keeper.clear().await.map_err(ApiStopReason::Checkpoint),
            // The place is kept also when it stops.
            Err(reason @ ApiStopReason::Checkpoint(_)) => Err(reason),
            Err(reason) => match keeper.save().await {
                Ok(()) => Err(reason),
                Err(error) => Err(ApiStopReason::Checkpoint(error)),
            },
        };
        Ok(self.report(place, ended, began))
    }

    async fn passes(
        &self,
        line: &Line<'_>,
        keeper: &Keeper<'_>,
        place: &mut Place,
        progress: &mut OnProgress<'_>,
    ) -> Result<(), ApiStopReason> {
        loop {
            let throttled_before = line.throttled();
            let passed = self.pass(line, keeper, place, progress).await;
            let throttled = line.throttled().saturating_sub(throttled_before);
            let counts = &mut place.pass_counts;
            counts.throttled = counts.throttled.saturating_add(throttled);
            passed?;
            let is_settled = place.pass_counts.written == 0;
            if self.options.dry_run || is_settled || place.pass >= self.options.passes {
                return Ok(());
            }
            place.begin_pass();
            keeper.commit(place);
            keeper.save().await.map_err(ApiStopReason::Checkpoint)?;
        }
    }

    /// Goes through everything once.
    async fn pass(
        &self,
        line: &Line<'_>,
        keeper: &Keeper<'_>,
        place: &mut Place,
        progress: &mut OnProgress<'_>,
    ) -> Result<(), ApiStopReason> {
        let units = units(&self.options.scopes);
        let total = self.count(&units).await;
        let now = line.clock.now();
        let mut pace = Pace::new(place.pass, total, place.pass_counts.objects, now);
        while let Some(unit) = units.get(place.unit) {
            let Some(scope) = self.options.scopes.get(unit.scope) else {
                break;
            };
            let mut walk = Walk {
                line,
                options: self.options,
                keeper,
                place,
                pace: &mut pace,
                progress,
            };
            if let Walked::Unlisted(error) = walk.go_through(unit, scope).await? {
                self.go_through_parts(&mut walk, unit, scope, error).await?;
            }
            place.unit = place.unit.saturating_add(1);
            place.after = None;
            keeper.keep_soon(place).await?;
        }
        progress(&pace.last(line.clock.now(), place.pass_counts));
        Ok(())
    }

    /// A resource that cannot be listed as a whole, as when one of its objects does not open:
    /// namespace by namespace.
    async fn go_through_parts(
        &self,
        walk: &mut Walk<'_, '_>,
        unit: &Unit,
        scope: &ApiScope,
        error: CoreError,
    ) -> Result<(), ApiStopReason> {
        let namespaces = if unit.namespace.is_none() && scope.is_namespaced {
            self.namespaces(walk.line).await?
        } else {
            Vec::new()
        };
        if namespaces.is_empty() {
            let namespace = unit.namespace.as_deref();
            walk.place
                .pass_by(UnreadPlace::new(scope, namespace, &error));
            return Ok(());
        }
        // In the order of keys, so that the place moves on over all of them.
        for namespace in namespaces {
            let part = Unit {
                scope: unit.scope,
                namespace: Some(namespace.clone()),
            };
            if let Walked::Unlisted(error) = walk.go_through(&part, scope).await? {
                let place = UnreadPlace::new(scope, Some(&namespace), &error);
                walk.place.pass_by(place);
            }
        }
        Ok(())
    }

    /// All namespaces, in the order of keys; none if they cannot be listed.
    async fn namespaces(&self, line: &Line<'_>) -> Result<Vec<String>, ApiStopReason> {
        let Ok(resource) = ApiResource::new("", "v1", "namespaces") else {
            return Ok(Vec::new());
        };
        let mut options = ListOptions::new(resource);
        let mut names = Vec::new();
        let mut trouble = Trouble::default();
        loop {
            match self.rewriter.list(&options).await {
                Ok(page) => {
                    trouble.reset();
                    names.extend(page.objects.iter().map(|object| object.name().to_owned()));
                    match page.next {
                        Some(next) => options.after = Some(next),
                        None => break,
                    }
                }
                Err(error) => match trouble.after(line, error).await {
                    Next::Again => {}
                    Next::Stopped => return Err(ApiStopReason::Asked),
                    Next::ItsOwn(_) | Next::Over(_) => return Ok(Vec::new()),
                },
            }
        }
        names.sort_by_key(|name| format!("{name}/"));
        Ok(names)
    }

    /// How many objects there are, if the server says.
    async fn count(&self, units: &[Unit]) -> Option<u64> {
        let mut count = 0_u64;
        for unit in units {
            let scope = self.options.scopes.get(unit.scope)?;
            let options = unit.options(scope).with_page_limit(1);
            // What stands in the way is met again, where it is dealt with.
            let page = self.rewriter.list(&options).await.ok()?;
            let rest = match (&page.next, page.remaining) {
                (None, _) => 0,
                (Some(_), remaining) => remaining?,
            };
            count = count
                .saturating_add(page.objects.len() as u64)
                .saturating_add(rest);
        }
        Some(count)
    }

    fn report(
        &self,
        place: Place,
        ended: Result<(), ApiStopReason>,
        began: Tick,
    ) -> ApiMigrationReport {
        let pass = place.pass_counts;
        let is_settled = ended.is_ok() && pass.written == 0 && !self.options.dry_run;
        let is_whole = pass.left == 0 && place.unread_count == 0;
        let end = match ended {
            Err(reason) => ApiMigrationEnd::Stopped(reason),
            Ok(()) if is_whole && (is_settled || self.options.dry_run) => ApiMigrationEnd::Complete,
            Ok(()) => ApiMigrationEnd::Incomplete,
        };
        ApiMigrationReport {
            end,
            cluster: self.options.cluster.clone(),
            scopes: ApiMigrationReport::names(&self.options.scopes),
            dry_run: self.options.dry_run,
            counts: place.all_counts(),
            last_pass: pass,
            passes: place.pass,
            is_settled,
            seconds: self.clock.now().since(began).as_secs_f64(),
            left: place.left,
            unread: place.unread,
            unread_count: place.unread_count,
            proves: ApiMigrationReport::PROVES,
        }
    }
}

impl fmt::Debug for ApiMigration<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiMigration")
            .field("rewriter", &self.rewriter)
            .field("options", &self.options)
            .field("checkpoints", &self.checkpoints)
            .finish_non_exhaustive()
    }
}

/// Keeps the place in a checkpoint.
pub(super) struct Keeper<'a> {
    checkpoints: Option<&'a dyn CheckpointStore>,
    options: &'a ApiMigrationOptions,
    clock: &'a dyn Clock,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// The place after the last page that is done with. What was counted since will be counted
    /// again.
    place: Option<Place>,
    when: Option<Tick>,
}

impl Keeper<'_> {
    /// Holds on to a place where nothing is half done, and keeps it unless that was a moment ago.
    pub(super) async fn keep_soon(&self, place: &Place) -> Result<(), ApiStopReason> {
        self.commit(place);
        let now = self.clock.now();
        let is_soon = |kept| now.since(kept) < self.options.checkpoint_interval;
        if self.kept().when.is_some_and(is_soon) {
            return Ok(());
        }
        self.save().await.map_err(ApiStopReason::Checkpoint)
    }

    fn commit(&self, place: &Place) {
        if self.checkpoints.is_some() {
            self.kept().place = Some(place.clone());
        }
    }

    async fn save(&self) -> Result<(), Error> {
        let (Some(checkpoints), Some(bytes)) = (self.checkpoints, self.bytes()?) else {
            return Ok(());
        };
        checkpoints.save(&bytes).await
    }

    fn bytes(&self) -> Result<Option<Vec<u8>>, Error> {
        let mut kept = self.kept();
        kept.when = Some(self.clock.now());
        kept.place.as_ref().map(Place::to_json).transpose()
    }

    async fn clear(&self) -> Result<(), Error> {
        match self.checkpoints {
            Some(checkpoints) => checkpoints.clear().await,
            None => Ok(()),
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
