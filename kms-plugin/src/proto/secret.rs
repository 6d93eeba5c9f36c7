//! `Debug` and `Drop` of the messages that carry a plaintext key.

use core::fmt;

use zeroize::Zeroize as _;

use super::{v1beta1, v2};

macro_rules! secret_message {
    ($($message:ty { $secret:ident $(, $shown:ident)* })*) => {$(
        /// The plaintext is shown as its length alone.
        impl fmt::Debug for $message {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($message))
                    .field(stringify!($secret), &format_args!("{} bytes", self.$secret.len()))
                    $(.field(stringify!($shown), &self.$shown))*
                    .finish()
            }
        }

        /// The plaintext is wiped.
        impl Drop for $message {
            fn drop(&mut self) {
                self.$secret.zeroize();
            }
        }
    )*};
}

secret_message! {
    v2::EncryptRequest { plaintext, uid }
    v2::DecryptResponse { plaintext }
    v1beta1::EncryptRequest { plain, version }
    v1beta1::DecryptResponse { plain }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_plaintext_is_printed() {
        let request = v2::EncryptRequest {
            plaintext: b"hunter2".to_vec(),
            uid: "u-1".to_owned(),
        };
        let text = format!("{request:?}");
        assert!(text.contains("7 bytes") && text.contains("u-1"), "{text}");
        assert!(!text.contains("104") && !text.contains("hunter"), "{text}");
    }
}
