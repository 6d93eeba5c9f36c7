//! Policies of confidential pods: from files to policies, and back into the file of the pod.

mod file;
mod images;
mod maker;
mod request;

pub use file::replace_text;
pub use images::{
    FailedImage, ImagesLockOutcome, ImagesLockRequest, LocalImages, LockState, LockedImage,
    images_of, lock_images,
};
pub use maker::{MadePolicies, MadePolicy, PolicyMaker};
pub use request::PolicyRequest;
