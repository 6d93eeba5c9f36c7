//! kms-plugin
