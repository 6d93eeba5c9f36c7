//! The example is as short as it is said to be.

#[test]
fn embedding_the_provider_takes_at_most_forty_lines() {
    let example = include_str!("../../../examples/azure_vault.rs");
    assert!(example.lines().count() <= 40);
    assert!(example.contains("KeyVaultProvider::new("));
}
