//! Going through one unit: all of a resource, or one namespace of it.

use core::hash::BuildHasher as _;
use core::pin::Pin;
use std::collections::VecDeque;
use std::hash::RandomState;

use futures_util::stream::{FuturesUnordered, StreamExt as _};
use kms_core::object::{ApiObject, ApiPage, KeyMap, ListOptions};
use kms_core::{Error, ErrorKind};

use super::checkpoint::Place;
use super::object::{Halt, Judged, Verdict, is_about_place, judge};
use super::place::{Unit, path_of};
use super::progress::{OnProgress, Pace};
use super::run::Keeper;
use super::trouble::{Line, Next, Trouble};
use super::{ApiMigrationOptions, ApiScope, ApiStopReason, LeftObject, UnreadPlace};

/// How often a list may begin again without any object having been judged in between.
const MAX_STALLS: u32 = 5;

/// What going through a unit needs and changes.
pub(super) struct Walk<'w, 'p> {
    pub(super) line: &'w Line<'w>,
    pub(super) options: &'w ApiMigrationOptions,
    pub(super) keeper: &'w Keeper<'w>,
    pub(super) place: &'w mut Place,
    pub(super) pace: &'w mut Pace,
    pub(super) progress: &'w mut OnProgress<'p>,
}

/// How going through a unit ended.
pub(super) enum Walked {
    Done,
    /// It cannot be listed, though the server is well: perhaps a part of it can.
    Unlisted(Error),
}

/// What is remembered of a unit while it is gone through.
struct Memory {
    /// Objects with a verdict, and a hash of the version that it is about.
    judged: KeyMap<u64>,
    hasher: RandomState,
    /// Namespaces in which nothing is allowed.
    closed: Vec<Option<String>>,
}

impl Memory {
    fn hash(&self, version: &str) -> u64 {
        self.hasher.hash_one(version)
    }

    fn remember(&mut self, object: &ApiObject, version: &str) {
        let version = self.hash(version);
        self.judged.insert(path_of(object).as_bytes(), version);
    }

    fn knows(&self, object: &ApiObject) -> bool {
        let version = self.hash(object.resource_version());
        self.judged.get(path_of(object).as_bytes()) == Some(&version)
    }

    fn is_closed(&self, object: &ApiObject) -> bool {
        let is_it = |closed: &Option<String>| closed.as_deref() == object.namespace();
        self.closed.iter().any(is_it)
    }
}

type Running<'f> =
    FuturesUnordered<Pin<Box<dyn Future<Output = (ApiObject, Result<Judged, Halt>)> + Send + 'f>>>;

impl Walk<'_, '_> {
    /// Lists a unit page by page, and has every object rewritten.
    pub(super) async fn go_through(
        &mut self,
        unit: &Unit,
        scope: &ApiScope,
    ) -> Result<Walked, ApiStopReason> {
        let mut memory = Memory {
            judged: KeyMap::new(),
            hasher: RandomState::new(),
            closed: Vec::new(),
        };
        let done_before = self.place.after.clone();
        let mut options = unit.options(scope).with_page_limit(self.options.page_limit);
        let (mut stalls, mut known) = (0_u32, 0_u64);
        let mut trouble = Trouble::default();
        loop {
            let page = match self.list(&options).await? {
                Ok(page) => page,
                Err(error) if error.kind() == ErrorKind::Compacted => {
                    stalls = if memory.judged.len() == known {
                        stalls.saturating_add(1)
                    } else {
                        0
                    };
                    if options.after.is_none() || stalls > MAX_STALLS {
                        return Err(ApiStopReason::Server(error));
                    }
                    known = memory.judged.len();
                    let restarts = &mut self.place.pass_counts.restarts;
                    *restarts = restarts.saturating_add(1);
                    options.after = None;
                    continue;
                }
                Err(error) if is_about_place(error.kind()) => {
                    let namespace = unit.namespace.as_deref();
                    let place = UnreadPlace::new(scope, namespace, &error);
                    self.place.pass_by(place);
                    return Ok(Walked::Done);
                }
                Err(error) => match trouble.after(self.line, error).await {
                    Next::Again => continue,
                    Next::Stopped => return Err(ApiStopReason::Asked),
                    Next::ItsOwn(error) => return Ok(Walked::Unlisted(error)),
                    Next::Over(error) => return Err(ApiStopReason::Server(error)),
                },
            };
            trouble.reset();
            let last = page.objects.last().map(path_of);
            let is_new = |object: &ApiObject| {
                !memory.knows(object)
                    && done_before
                        .as_ref()
                        .is_none_or(|done| path_of(object) > *done)
            };
            let objects: VecDeque<_> = page.objects.into_iter().filter(is_new).collect();
            if self.options.dry_run {
                for object in &objects {
                    memory.remember(object, object.resource_version());
                    let listed = &mut self.place.pass_counts.objects;
                    *listed = listed.saturating_add(1);
                }
                self.show();
            } else {
                self.rewrite(objects, scope, &mut memory).await?;
            }
            // Where a list was begun again, it is not yet where it was before.
            if let Some(last) = last.filter(|last| self.place.after.as_ref() < Some(last))
                && self.place.pass == 1
            {
                self.place.after = Some(last);
            }
            self.keeper.keep_soon(self.place).await?;
            match page.next {
                Some(next) => options.after = Some(next),
                None => return Ok(Walked::Done),
            }
        }
    }

    /// One page; what the server has against it, if it has.
    async fn list(&self, options: &ListOptions) -> Result<Result<ApiPage, Error>, ApiStopReason> {
        if !self.line.gate.open().await {
            return Err(ApiStopReason::Asked);
        }
        let page = self.line.rewriter.list(options).await;
        if page.is_ok() {
            self.line.note_success();
        }
        Ok(page)
    }

    /// Has these objects rewritten, several at once. Whatever was begun is ended first, if it
    /// stops.
    async fn rewrite(
        &mut self,
        mut objects: VecDeque<ApiObject>,
        scope: &ApiScope,
        memory: &mut Memory,
    ) -> Result<(), ApiStopReason> {
        let line = self.line;
        let most = self.options.concurrency.max(1);
        let mut running: Running<'_> = FuturesUnordered::new();
        let mut stop = None;
        loop {
            while stop.is_none()
                && running.len() < most
                && let Some(object) = objects.pop_front()
            {
                if memory.is_closed(&object) {
                    continue;
                }
                running.push(Box::pin(async move {
                    let judged = judge(line, object.clone()).await;
                    (object, judged)
                }));
            }
            let Some((object, judged)) = running.next().await else {
                break;
            };
            match judged {
                Ok(judged) => self.count(&object, judged, memory),
                Err(Halt::Place(error)) => {
                    if !memory.is_closed(&object) {
                        let namespace = object.namespace();
                        self.place
                            .pass_by(UnreadPlace::new(scope, namespace, &error));
                        memory.closed.push(namespace.map(str::to_owned));
                    }
                }
                Err(Halt::Interrupted) => {
                    stop.get_or_insert(ApiStopReason::Asked);
                }
                Err(Halt::Run(error)) => {
                    // The others need not go on failing.
                    line.gate.stop();
                    stop = Some(ApiStopReason::Server(error));
                }
            }
            self.show();
        }
        match stop {
            Some(reason) => Err(reason),
            None => Ok(()),
        }
    }

    fn count(&mut self, object: &ApiObject, judged: Judged, memory: &mut Memory) {
        memory.remember(object, &judged.resource_version);
        let counts = &mut self.place.pass_counts;
        let add = |to: &mut u64| *to = to.saturating_add(1);
        add(&mut counts.objects);
        counts.conflicts = counts.conflicts.saturating_add(judged.conflicts.into());
        match judged.verdict {
            Verdict::Written => add(&mut counts.written),
            Verdict::Fresh => add(&mut counts.fresh),
            Verdict::Gone => add(&mut counts.gone),
            Verdict::Left(reason) => self.place.leave(LeftObject::new(object, reason)),
        }
    }

    fn show(&mut self) {
        let mut counts = self.place.pass_counts;
        counts.throttled = counts.throttled.saturating_add(self.line.throttled());
        if let Some(shown) = self.pace.progress(self.line.clock.now(), counts) {
            (self.progress)(&shown);
        }
    }
}
