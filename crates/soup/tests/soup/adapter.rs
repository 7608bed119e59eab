//! Writing adapters.

use std::collections::BTreeMap;
use std::fs;

use safetensors::{Dtype, SafeTensors};
use tureen_soup::adapter::{Adapter, AdapterError, Factors, Precision, write};

use crate::fixture::{Q0, numbers};

fn adapter() -> Adapter {
    let module = (numbers(1, 10), numbers(2, 12), 5, 6);
    let metadata = [("step", "40"), ("reward", "2.0"), ("algorithm", "ppo")];
    Adapter {
        rank: 2,
        alpha: 4.5,
        modules: BTreeMap::from([(Q0.to_owned(), module)]),
        metadata: metadata.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
    }
}

#[test]
fn bytes_depend_on_the_adapter_alone() {
    let write = |precision| {
        let dir = tempfile::tempdir().unwrap();
        write(&adapter(), dir.path(), precision, "base").unwrap();
        let names: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names.len(), 2, "nothing temporary is left: {names:?}");
        fs::read(dir.path().join("adapter_model.safetensors")).unwrap()
    };
    for _ in 0..8 {
        assert_eq!(write(Precision::F32), write(Precision::F32));
    }
    assert_eq!(write(Precision::Bf16), write(Precision::Bf16));
}

#[test]
fn both_precisions_hold_the_values() {
    let dir = tempfile::tempdir().unwrap();
    for (precision, dtype) in [(Precision::F32, Dtype::F32), (Precision::Bf16, Dtype::BF16)] {
        // Over the files that are there already.
        write(&adapter(), dir.path(), precision, "base").unwrap();
        let bytes = fs::read(dir.path().join("adapter_model.safetensors")).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let b = tensors.tensor(&format!("base_model.model.{Q0}.lora_B.weight")).unwrap();
        assert_eq!((b.dtype(), b.shape()), (dtype, &[6, 2][..]));
        let expected: Vec<u8> = match precision {
            Precision::F32 => numbers(2, 12).iter().flat_map(|v| v.to_le_bytes()).collect(),
            Precision::Bf16 => numbers(2, 12).iter().flat_map(|v| half::bf16::from_f32(*v).to_le_bytes()).collect(),
        };
        assert_eq!(b.data(), expected);
        assert_eq!(bytes.len() % 4, 0);
    }
    let config: serde_json::Value =
        serde_json::from_slice(&fs::read(dir.path().join("adapter_config.json")).unwrap()).unwrap();
    assert_eq!((config["lora_alpha"].as_f64(), config["r"].as_u64()), (Some(4.5), Some(2)));
}

#[test]
fn adapters_that_nobody_could_load_are_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let try_write = |change: &dyn Fn(&mut Adapter)| {
        let mut adapter = adapter();
        change(&mut adapter);
        let error = write(&adapter, dir.path(), Precision::Bf16, "base").unwrap_err();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        error
    };
    let module = |adapter: &mut Adapter, f: &dyn Fn(&mut Factors)| {
        f(adapter.modules.get_mut(Q0).unwrap());
    };
    assert!(matches!(try_write(&|a| a.rank = 0), AdapterError::Empty));
    assert!(matches!(try_write(&|a| a.alpha = f64::NAN), AdapterError::Empty));
    assert!(matches!(try_write(&|a| a.modules.clear()), AdapterError::Empty));
    assert!(matches!(try_write(&|a| a.rank = 3), AdapterError::Shape { .. }));
    assert!(matches!(try_write(&|a| module(a, &|m| m.0.truncate(9))), AdapterError::Shape { factor: "lora_A", .. }));
    assert!(matches!(try_write(&|a| module(a, &|m| m.3 = 7)), AdapterError::Shape { factor: "lora_B", .. }));
    assert!(matches!(try_write(&|a| module(a, &|m| m.0[3] = f32::NAN)), AdapterError::NotFinite { .. }));
    // Beyond bf16 after rounding.
    assert!(matches!(try_write(&|a| module(a, &|m| m.1[3] = f32::MAX)), AdapterError::NotFinite { .. }));
    let nowhere = dir.path().join("missing");
    assert!(matches!(write(&adapter(), &nowhere, Precision::F32, "base"), Err(AdapterError::Io { .. })));
}
