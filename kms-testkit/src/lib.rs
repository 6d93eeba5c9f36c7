//! kms-testkit
