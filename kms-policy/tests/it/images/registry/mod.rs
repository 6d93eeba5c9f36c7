//! Images from registries.

mod login;
mod real;
mod server;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use kms_policy::ErrorKind;
use kms_policy::image::{
    CollectOptions, CollectedImage, Digest, ImageReference, OciLayout, Platform, Registry,
    RegistryOptions,
};

use super::made::{Blobs, layers};
use server::{Answer, Content, Server};

fn options(servers: &[&Server]) -> RegistryOptions {
    let options = RegistryOptions::default().with_first_pause(Duration::from_millis(1));
    let insecure =
        |options: RegistryOptions, server: &&Server| options.with_insecure(&server.place);
    servers.iter().try_fold(options, insecure).unwrap()
}

async fn image(
    server: &Server,
    name: &ImageReference,
) -> Result<CollectedImage, kms_policy::Error> {
    let registry = Registry::new(options(&[server])).unwrap();
    registry.image(name, &CollectOptions::default()).await
}

/// An image for two platforms, and its index.
fn web() -> (Content, Digest, Digest) {
    let mut blobs = Blobs::default();
    let amd64 = blobs.add_image(&layers(), "amd64");
    let arm64 = blobs.add_image(&layers()[..1], "arm64");
    let index = blobs.add_index(&[(&amd64, "amd64"), (&arm64, "arm64")]);
    let content = Content::new("team/web", blobs, &[("1", &index), ("2", &amd64)]);
    (content, index, amd64)
}

/// What an OCI layout with the same content gives.
fn from_layout(content: &Content, of: &Digest, platform: &str) -> CollectedImage {
    let directory = tempfile::tempdir().unwrap();
    content.blobs.write_layout(directory.path(), &[(of, "web")]);
    let options = CollectOptions::default().with_platform(Platform::parse(platform).unwrap());
    let layout = OciLayout::open(directory.path()).unwrap();
    layout
        .image_as(&super::made::name("web"), &options)
        .unwrap()
}

#[tokio::test]
async fn facts_are_those_of_a_layout_with_the_same_content() {
    let (content, index, amd64) = web();
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    let registry = Registry::new(options(&[&server])).unwrap();
    let name = content.name(&server, "1");
    for platform in ["linux/amd64", "linux/arm64"] {
        let options = CollectOptions::default().with_platform(Platform::parse(platform).unwrap());
        let found = registry.image(&name, &options).await.unwrap();
        assert_eq!(found, from_layout(&content, &index, platform), "{platform}");
    }
    let options = CollectOptions::default();
    let pinned = registry
        .image(&name.pinned_to(&amd64), &options)
        .await
        .unwrap();
    assert_eq!(pinned, from_layout(&content, &amd64, "linux/amd64"));
    let single = registry
        .image(&content.name(&server, "2"), &options)
        .await
        .unwrap();
    assert_eq!(single, pinned);
    let resolved = registry.resolve(&name, &Platform::default()).await.unwrap();
    assert_eq!((resolved.resolved(), resolved.manifest()), (&index, &amd64));
}

#[tokio::test]
async fn what_is_not_there_is_an_error_that_says_so() {
    let (content, ..) = web();
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    let error = image(&server, &content.name(&server, "3"))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry);
    assert!(
        error.to_string().contains("404 MANIFEST_UNKNOWN"),
        "{error}"
    );
    assert_eq!(server.requests().len(), 1, "it is not tried again");
}

#[tokio::test]
async fn a_registry_that_was_not_named_is_not_asked_in_clear() {
    let (content, ..) = web();
    let answering = content.clone();
    let server = Server::start(move |request| answering.answer(request));
    let options = RegistryOptions::default().with_first_pause(Duration::from_millis(1));
    let registry = Registry::new(options).unwrap();
    let name = content.name(&server, "1");
    let error = registry
        .image(&name, &CollectOptions::default())
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Registry);
    assert!(
        server.requests().iter().all(|it| it.method != "GET"),
        "TLS was spoken"
    );
}

#[tokio::test]
async fn content_that_was_changed_is_refused() {
    let (content, _, amd64) = web();
    for digest in content.blobs.0.keys() {
        let mut changed = content.clone();
        *changed.blobs.0.get_mut(digest).unwrap().last_mut().unwrap() ^= 1;
        let server = Server::start(move |request| changed.answer(request));
        let name = content.name(&server, "1");
        match image(&server, &name).await {
            // What is of the other platform alone is not looked at.
            Ok(found) => assert_eq!(found.facts.digest.as_deref(), Some(amd64.as_str())),
            Err(error) => assert_eq!(error.kind(), ErrorKind::Image, "{digest}: {error}"),
        }
    }
    // A manifest that a tag stands for has no digest to compare but the header's.
    let mut changed = content.clone();
    changed.blobs.0.get_mut(&amd64).unwrap().push(b' ');
    let server = Server::start(move |request| changed.answer(request));
    for tag in ["1", "2"] {
        let error = image(&server, &content.name(&server, tag))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image, "{tag}");
    }
}

#[tokio::test]
async fn downloads_that_break_are_taken_up_where_they_were() {
    for takes_ranges in [true, false] {
        let (content, index, _) = web();
        let answering = content.clone();
        let server = Server::start(move |request| {
            let mut request = request.clone();
            if !takes_ranges {
                request.headers.remove("range");
            }
            let mut answer = answering.answer(&request);
            let is_layer = request.path.contains("/blobs/") && answer.body.len() > 600_000;
            if is_layer {
                answer.breaks_after = Some(900_000);
            }
            answer
        });
        let found = image(&server, &content.name(&server, "1")).await;
        if takes_ranges {
            assert_eq!(found.unwrap(), from_layout(&content, &index, "linux/amd64"));
            let ranges = server.requests();
            let ranges: Vec<_> = ranges.iter().filter_map(|it| it.header("range")).collect();
            assert_eq!(ranges[0], "bytes=900000-");
        } else {
            // It never gets any further, and that comes to an end.
            let error = found.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Registry, "{error}");
            assert!(error.path().unwrap().starts_with("layer 2 of 3"), "{error}");
        }
    }
}

#[tokio::test]
async fn what_fails_for_now_is_tried_again_and_not_forever() {
    for (failures, succeeds) in [(4, true), (5, false)] {
        let (content, ..) = web();
        let (answering, left) = (content.clone(), AtomicUsize::new(failures));
        let server = Server::start(move |request| {
            let more = |left: usize| left.checked_sub(1);
            if left
                .fetch_update(Ordering::SeqCst, Ordering::SeqCst, more)
                .is_ok()
            {
                return Answer::new(503, "").with("Retry-After", "0");
            }
            answering.answer(request)
        });
        let found = image(&server, &content.name(&server, "1")).await;
        assert_eq!(found.is_ok(), succeeds, "{failures}");
    }
}

#[tokio::test]
async fn answers_are_bounded() {
    let (content, ..) = web();
    let (answering, is_blob) = (content.clone(), |path: &str| path.contains("/blobs/"));
    for long in [false, true] {
        let answering = answering.clone();
        let server = Server::start(move |request| {
            let mut answer = answering.answer(request);
            if is_blob(&request.path) == long {
                answer.body.resize(answer.body.len() + (5 << 20), b' ');
                answer.headers.clear();
            }
            answer
        });
        let error = image(&server, &content.name(&server, "1"))
            .await
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Image, "{long}: {error}");
    }
}

#[test]
fn an_insecure_registry_is_a_host() {
    for bad in ["", "http://a.example", "a/b", "*.example", "a:b"] {
        let error = RegistryOptions::default().with_insecure(bad).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Registry, "{bad}");
    }
}
