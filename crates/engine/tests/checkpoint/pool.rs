//! A pool is checked against the base that it was made for.

use picollama::{Base, GgufType, PolicySpec, write_pool};
use tureen_engine::Checkpoint;
use tureen_soup::{Pool, PoolOptions};

#[test]
fn a_pool_fits_its_own_base_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let base = Base::llama();
    let written = base.write_gguf(&dir.path().join("tiny.gguf"), GgufType::F32);
    let other = Base { hidden: 32, ..Base::llama() };
    other.write_gguf(&dir.path().join("other.gguf"), GgufType::F32);
    write_pool(&dir.path().join("pool"), &base, &written, &[PolicySpec::lora("concise"), PolicySpec::full("friendly")]);

    let pool = Pool::open(&dir.path().join("pool"), &PoolOptions::default()).unwrap();
    let open = |name: &str| Checkpoint::open(&dir.path().join(name)).unwrap().base_facts();
    pool.check_base(&open("tiny.gguf")).unwrap();
    assert!(pool.check_base(&open("other.gguf")).is_err());
}
