//! Which instruction set this process computes with.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
use crate::amx::{self, Tiled};
#[cfg(target_arch = "x86_64")]
use crate::simd::{Avx2, Avx512};
use crate::simd::{Op, Portable};
use crate::strip::Strip;

/// An instruction set that this CPU has. Chosen once; two of them may differ in the last bits of a result, so an answer is
/// reproducible on one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Isa(Kind);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    #[cfg(target_arch = "x86_64")]
    Avx512Bf16,
    #[cfg(target_arch = "x86_64")]
    Amx,
}

impl Isa {
    /// Runs everywhere.
    pub const PORTABLE: Self = Self(Kind::Portable);

    /// The widest set that this CPU has.
    #[must_use]
    pub fn detect() -> Self {
        Self::available().last().copied().unwrap_or(Self::PORTABLE)
    }

    /// All sets that this CPU has, the widest last.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut found = vec![Self::PORTABLE];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            let avx512 = avx2
                && is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512dq")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni");
            let bf16 = avx512 && is_x86_feature_detected!("avx512bf16");
            found.extend(avx2.then_some(Self(Kind::Avx2)));
            found.extend(avx512.then_some(Self(Kind::Avx512Vnni)));
            found.extend(bf16.then_some(Self(Kind::Avx512Bf16)));
            found.extend((bf16 && amx::is_permitted()).then_some(Self(Kind::Amx)));
        }
        found
    }

    /// The set of that name, if this CPU has it.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::available().into_iter().find(|isa| isa.name() == name)
    }

    /// `portable`, `avx2`, `avx512_vnni`, `avx512_bf16` or `amx`
    #[must_use]
    pub fn name(self) -> &'static str {
        match self.0 {
            Kind::Portable => "portable",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => "avx512_vnni",
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 => "avx512_bf16",
            #[cfg(target_arch = "x86_64")]
            Kind::Amx => "amx",
        }
    }

    /// Runs `op`, compiled for this instruction set.
    pub(crate) fn run<O: Op>(self, op: O) -> O::Output {
        match self.0 {
            Kind::Portable => op.run(Portable),
            // SAFETY: this kind is made by `available` alone, after it saw every feature named at the function.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx2 => unsafe { run_avx2(op) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Vnni => unsafe { run_avx512_vnni(op) },
            // SAFETY: as above.
            #[cfg(target_arch = "x86_64")]
            Kind::Avx512Bf16 | Kind::Amx => unsafe { run_avx512_bf16(op) },
        }
    }

    /// Runs part of a product: in tiles, where this set has them.
    pub(crate) fn multiply(self, strip: Strip<'_>) {
        #[cfg(target_arch = "x86_64")]
        if self.0 == Kind::Amx {
            return self.run(Tiled(strip));
        }
        self.run(strip);
    }
}

/// Whether this process may come to multiply in tiles, which are whole.
pub(crate) fn has_tiles() -> bool {
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    return amx::is_permitted();
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    return false;
}

/// # Safety
/// The CPU has the features enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn run_avx2<O: Op>(op: O) -> O::Output {
    // SAFETY: the caller promises what the token stands for.
    op.run(unsafe { Avx2::new() })
}

/// # Safety
/// The CPU has the features enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni")]
unsafe fn run_avx512_vnni<O: Op>(op: O) -> O::Output {
    // SAFETY: the caller promises what the token stands for.
    op.run(unsafe { Avx512::<false>::new() })
}

/// # Safety
/// The CPU has the features enabled here.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16")]
unsafe fn run_avx512_bf16<O: Op>(op: O) -> O::Output {
    // SAFETY: the caller promises what the token stands for.
    op.run(unsafe { Avx512::<true>::new() })
}
