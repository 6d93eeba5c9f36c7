//! The suite for the no-op update.

use std::sync::Arc;

use async_trait::async_trait;
use kms_core::object::{
    ApiObject, ApiResource, ContinueToken, ListOptions, RewriteOutcome, Rewriter,
};
use kms_core::{CallOptions, Error, ErrorKind};

use super::report::{Checked, Done, Fault, Report, ensure, ensure_eq, ensure_refused};

/// Makes servers for [`run_rewriter`], and is the other client that gets in its way.
#[async_trait]
pub trait RewriterHarness: Send + Sync {
    /// The rewriter under test.
    type Rewriter: Rewriter;

    /// A resource that has namespaces.
    fn resource(&self) -> ApiResource;

    /// A server that holds exactly these objects of the resource, by namespace and name, all of
    /// them stale.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn server_with(&self, objects: &[(&str, &str)]) -> Result<Arc<Self::Rewriter>, Error>;

    /// Makes all objects stale again, as a new key does. Writes none of them.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn make_stale(&self, rewriter: &Self::Rewriter) -> Result<(), Error>;

    /// Changes an object, as another client.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn touch(&self, rewriter: &Self::Rewriter, object: &ApiObject) -> Result<(), Error>;

    /// Deletes an object, as another client.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn delete(&self, rewriter: &Self::Rewriter, object: &ApiObject) -> Result<(), Error>;

    /// Makes a stale object, as another client.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn create(
        &self,
        rewriter: &Self::Rewriter,
        namespace: &str,
        name: &str,
    ) -> Result<(), Error>;

    /// Makes every continue token expire. `false`, the default, if that cannot be done.
    ///
    /// # Errors
    ///
    /// Any; it fails the check.
    async fn expire_lists(&self, rewriter: &Self::Rewriter) -> Result<bool, Error> {
        let _ = rewriter;
        Ok(false)
    }
}

/// Checks a rewriter against the contract of [`Rewriter`].
pub async fn run_rewriter<H: RewriterHarness>(harness: &H) -> Report {
    let mut report = Report::new("Rewriter");
    report.record("a list without objects is empty", empty(harness).await);
    report.record(
        "pages of any size list every object once",
        pages(harness).await,
    );
    report.record(
        "a namespace lists its own objects alone",
        namespaces(harness).await,
    );
    report.record("a name lists its own object alone", one_name(harness).await);
    report.record(
        "objects that stay are listed once while others come and go",
        moving(harness).await,
    );
    report.record(
        "what is no continue token is refused",
        bad_token(harness).await,
    );
    report.record("an expired list is refused", expired(harness).await);
    report.record("a stale object is written once", written(harness).await);
    report.record("another's change is not undone", conflict(harness).await);
    report.record("an object that is gone stays gone", gone(harness).await);
    report.record(
        "an object made anew under the name is left alone",
        made_anew(harness).await,
    );
    report
}

const OBJECTS: &[(&str, &str)] = &[
    ("a", "one"),
    ("a", "three"),
    ("a", "two"),
    ("a-b", "one"),
    ("ab", "one"),
    ("b", "one"),
    ("b", "one.two"),
];

fn call() -> CallOptions {
    CallOptions::default()
}

/// Lists to the end.
async fn list(rewriter: &dyn Rewriter, mut options: ListOptions) -> Result<Vec<ApiObject>, Fault> {
    let mut objects = Vec::new();
    loop {
        let page = rewriter.list(&options).await?;
        let limit = options.page_limit.max(1);
        ensure(
            u32::try_from(page.objects.len()).is_ok_and(|length| length <= limit),
            || format!("a page is longer than {limit}"),
        )?;
        objects.extend(page.objects);
        match page.next {
            None => return Ok(objects),
            next => options.after = next,
        }
    }
}

/// Namespaces and names, sorted: a list promises no order.
fn names(objects: &[ApiObject]) -> Vec<(&str, &str)> {
    let mut names: Vec<_> = objects
        .iter()
        .map(|object| (object.namespace().unwrap_or(""), object.name()))
        .collect();
    names.sort_unstable();
    names
}

async fn one<H: RewriterHarness>(harness: &H) -> Result<(Arc<H::Rewriter>, ApiObject), Fault> {
    let rewriter = harness.server_with(&[("a", "one"), ("a", "two")]).await?;
    let object = named(harness, &*rewriter, "one").await?;
    Ok((rewriter, object))
}

/// The object of this name, as the server lists it now.
async fn named<H: RewriterHarness>(
    harness: &H,
    rewriter: &dyn Rewriter,
    name: &str,
) -> Result<ApiObject, Fault> {
    list(rewriter, ListOptions::new(harness.resource()))
        .await?
        .into_iter()
        .find(|object| object.name() == name)
        .ok_or_else(|| Fault(format!("{name} is not listed")))
}

async fn empty<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(&[]).await?;
    let objects = list(&*rewriter, ListOptions::new(harness.resource())).await?;
    ensure_eq(&objects, &Vec::new(), "objects")?;
    Ok(Done::Checked)
}

async fn pages<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    for limit in [0, 1, 2, 3, 6, 7, 8, 500] {
        let options = ListOptions::new(harness.resource()).with_page_limit(limit);
        let objects = list(&*rewriter, options).await?;
        ensure_eq(
            &names(&objects),
            &OBJECTS.to_vec(),
            &format!("pages of {limit}"),
        )?;
        ensure(
            objects
                .iter()
                .all(|object| *object.resource() == harness.resource()),
            || "an object of another resource".to_owned(),
        )?;
    }
    Ok(Done::Checked)
}

async fn namespaces<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    for namespace in ["a", "ab", "a-b", "b", "none"] {
        let options = ListOptions::new(harness.resource())
            .with_namespace(namespace)?
            .with_page_limit(2);
        let objects = list(&*rewriter, options).await?;
        let expected: Vec<_> = OBJECTS
            .iter()
            .copied()
            .filter(|(of, _)| *of == namespace)
            .collect();
        ensure_eq(
            &names(&objects),
            &expected,
            &format!("namespace {namespace}"),
        )?;
    }
    Ok(Done::Checked)
}

async fn one_name<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    let everything = list(&*rewriter, ListOptions::new(harness.resource())).await?;
    for object in &everything {
        let found = list(&*rewriter, ListOptions::of_object(object)).await?;
        ensure_eq(
            &found,
            &vec![object.clone()],
            "an object listed by its name",
        )?;
    }
    for (namespace, name) in [("a", "on"), ("none", "one"), ("b", "one,two")] {
        let options = ListOptions::new(harness.resource())
            .with_namespace(namespace)?
            .with_name(name)?;
        ensure_eq(
            &list(&*rewriter, options).await?,
            &Vec::new(),
            "objects of a name that is not there",
        )?;
    }
    Ok(Done::Checked)
}

async fn moving<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    let everything = list(&*rewriter, ListOptions::new(harness.resource())).await?;
    let mut options = ListOptions::new(harness.resource()).with_page_limit(1);
    let mut found = Vec::new();
    for round in 0_u32.. {
        let page = rewriter.list(&options).await?;
        found.extend(page.objects);
        let Some(next) = page.next else { break };
        options.after = Some(next);
        harness
            .create(&rewriter, "a", &format!("new-{round}"))
            .await?;
        if round == 0 {
            let last = everything
                .iter()
                .find(|object| object.name() == "one.two")
                .ok_or_else(|| Fault("one.two is not listed".to_owned()))?;
            harness.delete(&rewriter, last).await?;
        }
    }
    let expected: Vec<_> = OBJECTS
        .iter()
        .copied()
        .filter(|(_, name)| *name != "one.two")
        .collect();
    let stayed: Vec<_> = names(&found)
        .into_iter()
        .filter(|(_, name)| !name.starts_with("new-") && *name != "one.two")
        .collect();
    ensure_eq(&stayed, &expected, "objects that were there throughout")?;
    Ok(Done::Checked)
}

async fn bad_token<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    let token = ContinueToken::new("no token of this server's")?;
    let options = ListOptions::new(harness.resource()).with_after(token);
    ensure_refused(
        rewriter.list(&options).await,
        ErrorKind::InvalidInput,
        "list",
    )?;
    Ok(Done::Checked)
}

async fn expired<H: RewriterHarness>(harness: &H) -> Checked {
    let rewriter = harness.server_with(OBJECTS).await?;
    let options = ListOptions::new(harness.resource()).with_page_limit(2);
    let page = rewriter.list(&options).await?;
    if !harness.expire_lists(&rewriter).await? {
        return Ok(Done::Skipped("the harness cannot expire a list"));
    }
    let options = options.with_after(page.next);
    ensure_refused(rewriter.list(&options).await, ErrorKind::Compacted, "list")?;
    Ok(Done::Checked)
}

async fn written<H: RewriterHarness>(harness: &H) -> Checked {
    let (rewriter, mut object) = one(harness).await?;
    for round in 0..3 {
        let outcome = rewriter.rewrite(&object, &call()).await?;
        let RewriteOutcome::Written { resource_version } = outcome else {
            return Err(Fault(format!("a stale object, round {round}: {outcome:?}")));
        };
        ensure(resource_version != object.resource_version(), || {
            "written under the old resource version".to_owned()
        })?;
        object = named(harness, &*rewriter, "one").await?;
        ensure_eq(
            &object.resource_version(),
            &resource_version.as_str(),
            "resource version in the list",
        )?;
        let outcome = rewriter.rewrite(&object, &call()).await?;
        ensure_eq(&outcome, &RewriteOutcome::Unchanged, "a fresh object")?;
        let after = named(harness, &*rewriter, "one").await?;
        ensure_eq(&after, &object, "a fresh object after its rewrite")?;
        harness.make_stale(&rewriter).await?;
    }
    Ok(Done::Checked)
}

async fn conflict<H: RewriterHarness>(harness: &H) -> Checked {
    let (rewriter, object) = one(harness).await?;
    harness.touch(&rewriter, &object).await?;
    let touched = named(harness, &*rewriter, "one").await?;
    let outcome = rewriter.rewrite(&object, &call()).await?;
    ensure_eq(
        &outcome,
        &RewriteOutcome::Conflict,
        "after another's change",
    )?;
    let after = named(harness, &*rewriter, "one").await?;
    ensure_eq(&after, &touched, "the object after the conflict")?;
    let outcome = rewriter.rewrite(&after, &call()).await?;
    ensure(
        matches!(
            outcome,
            RewriteOutcome::Written { .. } | RewriteOutcome::Unchanged
        ),
        || format!("listed again: {outcome:?}"),
    )?;
    Ok(Done::Checked)
}

async fn gone<H: RewriterHarness>(harness: &H) -> Checked {
    let (rewriter, object) = one(harness).await?;
    harness.delete(&rewriter, &object).await?;
    for _ in 0..2 {
        let outcome = rewriter.rewrite(&object, &call()).await?;
        ensure_eq(&outcome, &RewriteOutcome::Gone, "after deletion")?;
    }
    let left = list(&*rewriter, ListOptions::new(harness.resource())).await?;
    ensure_eq(&names(&left), &vec![("a", "two")], "objects left")?;
    Ok(Done::Checked)
}

async fn made_anew<H: RewriterHarness>(harness: &H) -> Checked {
    let (rewriter, object) = one(harness).await?;
    harness.delete(&rewriter, &object).await?;
    harness.create(&rewriter, "a", "one").await?;
    let anew = named(harness, &*rewriter, "one").await?;
    let outcome = rewriter.rewrite(&object, &call()).await?;
    ensure(
        matches!(outcome, RewriteOutcome::Gone | RewriteOutcome::Conflict),
        || format!("the new object under the old name: {outcome:?}"),
    )?;
    let after = named(harness, &*rewriter, "one").await?;
    ensure_eq(&after, &anew, "the new object")?;
    Ok(Done::Checked)
}
