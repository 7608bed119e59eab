//! A cache line, and large buffers of them.
#![allow(unsafe_code)]

use memmap2::MmapMut;

/// Buffers from this size on are mapped, on huge pages where the system has them: a fifth more bandwidth.
const HUGE: usize = 2 << 20;

/// Sixty-four bytes: sixteen lanes of what a layout says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

impl Line {
    /// All bits zero.
    pub(crate) const ZERO: Self = Self([0; 64]);

    pub(crate) fn as_bytes(&self) -> &[u8; 64] {
        &self.0
    }

    #[inline(always)]
    pub(crate) fn as_u32(&self) -> &[u32; 16] {
        // SAFETY: as large and more than as aligned; any bits are a u32.
        unsafe { &*self.0.as_ptr().cast() }
    }

    #[inline(always)]
    pub(crate) fn as_u32_mut(&mut self) -> &mut [u32; 16] {
        // SAFETY: as large and more than as aligned; any bits are a u32, and any u32 are bytes.
        unsafe { &mut *self.0.as_mut_ptr().cast() }
    }

    #[inline(always)]
    pub(crate) fn as_f32(&self) -> &[f32; 16] {
        // SAFETY: as large and more than as aligned; any bits are an f32.
        unsafe { &*self.0.as_ptr().cast() }
    }
}

/// Lines in memory, zero at first.
pub(crate) enum Lines {
    Owned(Vec<Line>),
    Mapped(MmapMut),
}

impl Lines {
    /// Room for `len` lines.
    ///
    /// # Panics
    /// When the system has no memory left, as any allocation.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = len * size_of::<Line>();
        if bytes < HUGE || cfg!(miri) {
            return Self::Owned(vec![Line::ZERO; len]);
        }
        let map = MmapMut::map_anon(bytes).expect("memory for weights");
        // Only advice: without huge pages all works, a little slower.
        #[cfg(target_os = "linux")]
        let _ = map.advise(memmap2::Advice::HugePage);
        Self::Mapped(map)
    }

    pub(crate) fn as_slice(&self) -> &[Line] {
        match self {
            Self::Owned(lines) => lines,
            // SAFETY: a map begins on a page, so it is aligned; its length was a whole number of lines; any bytes are a line.
            Self::Mapped(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<Line>())
            },
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Line] {
        match self {
            Self::Owned(lines) => lines,
            // SAFETY: as above, and the map is borrowed exclusively.
            Self::Mapped(map) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), map.len() / size_of::<Line>())
            },
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lines", self.as_slice().len())
    }
}
