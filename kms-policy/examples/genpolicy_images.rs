//! Makes a lock file from a data set's `images/`: `genpolicy_images DIR SET SAMPLE`.
//!
//! `SET` and `SAMPLE` choose among what several samples saw of one image, for example
//! `aks-3.2.0.azl3.genpolicy3` and `pod/pod-exec.yaml`.

#[path = "../tests/acceptance/images.rs"]
mod images;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let (Some(directory), Some(set), Some(sample)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        println!("usage: genpolicy_images DIR SET SAMPLE > images.lock.json");
        return;
    };
    let lock = images::lock(directory.as_ref(), &set, &sample);
    print!("{}", lock.to_json().expect("facts are written as JSON"));
}
