//! What this machine is taken for.

use crate::Isa;

/// `scripts/check-isa` emulates a machine for each set, and says which one it has to be.
#[test]
fn the_widest_set_is_chosen_and_brings_the_lesser_ones() {
    let found: Vec<_> = Isa::available().into_iter().map(Isa::name).collect();
    assert!(["portable", "avx2", "avx512_vnni", "avx512_bf16", "amx"].starts_with(&found), "{found:?}");
    assert_eq!(found.last(), Some(&Isa::detect().name()));
    if let Ok(expected) = std::env::var("TUREEN_TEST_ISA") {
        assert_eq!(found.last(), Some(&&*expected));
    }
}
