//! Makes a lock file of images from a data set's `images/`: `genpolicy_images DIR OUT [SET]`.
//!
//! `SET` chooses what to take where the sets of samples saw an image in different versions, for example
//! `aks-3.15.0.aks0.genpolicy0`.

#[path = "../tests/acceptance/images.rs"]
mod images;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (directory, out, set) = match &arguments[..] {
        [directory, out] => (Path::new(directory), out, None),
        [directory, out, set] => (Path::new(directory), out, Some(&**set)),
        _ => {
            eprintln!("usage: genpolicy_images DIR OUT [SET]");
            return ExitCode::from(2);
        }
    };
    let inner = directory.join("images");
    let images = if inner.is_dir() { &*inner } else { directory };
    let lock = images::lock(images, images::View { set, sample: None });
    let json = lock.to_json().expect("facts are written as JSON");
    std::fs::write(out, json).expect("the lock file is written");
    ExitCode::SUCCESS
}
