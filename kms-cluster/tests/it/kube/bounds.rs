//! Pages that are too long, and answers that have no end.

use kms_cluster::api::{ApiOptions, KubeApi};
use kms_core::ErrorKind;
use kms_core::object::{ListOptions, Rewriter as _};
use kms_testkit::apiserver::{ApiServer, Place, Verb};
use serde_json::json;

use super::{secrets, target};

/// A server with objects whose annotations are so long.
async fn with_annotations(count: usize, bytes: usize) -> ApiServer {
    let server = ApiServer::builder().start().await.unwrap();
    for number in 0..count {
        let place = Place::of("secrets", "default", format!("s{number:02}"));
        let annotations = json!({"metadata": {"annotations": {"a": "x".repeat(bytes)}}});
        server.create(&place, annotations).await.unwrap();
    }
    server
}

#[tokio::test]
async fn a_page_that_is_too_long_comes_in_parts() {
    let server = with_annotations(10, 10_000).await;
    let options = ApiOptions::default().with_max_list_len(45_000);
    let api = KubeApi::new(target(&server), options).unwrap();
    let mut options = ListOptions::new(secrets());
    let mut names = Vec::new();
    loop {
        let page = api.list(&options).await.unwrap();
        assert!((1..=4).contains(&page.objects.len()));
        names.extend(page.objects.iter().map(|object| object.name().to_owned()));
        match page.next {
            Some(next) => options.after = Some(next),
            None => break,
        }
    }
    let expected: Vec<_> = (0..10).map(|number| format!("s{number:02}")).collect();
    assert_eq!(names, expected);
}

#[tokio::test]
async fn one_object_that_is_too_long_is_an_error() {
    let server = with_annotations(1, 10_000).await;
    let options = ApiOptions::default().with_max_list_len(5_000);
    let api = KubeApi::new(target(&server), options).unwrap();
    let error = api.list(&ListOptions::new(secrets())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
    assert!(error.message().contains("over the limit"), "{error}");
    // Halved down to one, and no further.
    assert_eq!(server.calls(Verb::List), 9);
}
