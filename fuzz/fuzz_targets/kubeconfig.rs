//! A kubeconfig of unknown origin is read or refused; no error and no debug text repeats what may be
//! a secret.
#![no_main]

use arbitrary::Arbitrary;
use kms_cluster::api::Kubeconfig;
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    text: &'a str,
    token: &'a str,
    server: &'a str,
    context: Option<&'a str>,
}

/// What names files, which are not to be read here.
const FILES: [&str; 6] = [
    "authority",
    "client-",
    "tokenFile",
    "token-file",
    "exec",
    "\\",
];

fn read(text: &str, context: Option<&str>) -> Option<String> {
    let shown = match Kubeconfig::parse(text, "/nonexistent") {
        Ok(config) => {
            let names: Vec<_> = config.contexts().map(str::to_owned).collect();
            assert!(names.is_sorted());
            if FILES.iter().any(|file| text.contains(file)) {
                return None;
            }
            match config.target(context) {
                Ok(target) => format!("{config:?} {target:?} {target}"),
                Err(error) => format!("{config:?} {error:?} {error} {}", error.remedy()),
            }
        }
        Err(error) => format!("{error:?} {error} {}", error.remedy()),
    };
    Some(shown)
}

fuzz_target!(|input: Input<'_>| {
    let _ = read(input.text, input.context);
    // One that is nearly right, with a token that nothing else holds.
    let secret = format!("hunter2{}hunter2", input.token);
    let quoted = |text: &str| format!("{text:?}");
    let text = format!(
        "{{clusters: [{{name: c, cluster: {{server: {}}}}}], users: [{{name: u, user: {{token: {}}}}}], \
         contexts: [{{name: x, context: {{cluster: c, user: u}}}}], current-context: x}}",
        quoted(input.server),
        quoted(&secret),
    );
    if let Some(shown) = read(&text, input.context)
        && !input.server.contains("hunter2")
        && !input.context.is_some_and(|name| name.contains("hunter2"))
    {
        assert!(!shown.contains("hunter2"), "{shown}");
    }
});
