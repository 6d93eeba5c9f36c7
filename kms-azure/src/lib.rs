//! Azure Key Vault and Managed HSM as key providers.
