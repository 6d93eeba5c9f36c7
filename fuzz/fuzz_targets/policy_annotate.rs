//! Annotations in any text: what comes out has them, and a second time changes nothing.
#![no_main]

use kms_policy::annotate::annotate;
use kms_policy::initdata::Initdata;
use libfuzzer_sys::fuzz_target;

const NAME: &str = "io.katacontainers.config.agent.policy";

fuzz_target!(|data: &[u8]| {
    let Ok(text) = core::str::from_utf8(data) else {
        return;
    };
    for count in 0..3 {
        let values = vec![Some("cGFja2FnZSBhZ2VudF9wb2xpY3k=".to_owned()); count];
        if let Ok(edited) = annotate(text, NAME, &values) {
            let again = annotate(&edited, NAME, &values).expect("it is annotated");
            assert_eq!(again, edited);
        }
    }
    if let Ok(initdata) = Initdata::parse(text) {
        let again = Initdata::parse(&initdata.to_toml()).expect("it is written well");
        assert_eq!(again, initdata);
    }
});
