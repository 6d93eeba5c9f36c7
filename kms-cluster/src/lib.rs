//! kms-cluster
