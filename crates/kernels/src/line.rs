//! A cache line, and large buffers of them.
#![allow(unsafe_code)]

use std::sync::{Arc, Mutex, PoisonError, Weak};

use memmap2::MmapMut;

/// Buffers from this size on are mapped, on huge pages where the system has them: a fifth more bandwidth for weights, and
/// more than twice as much for attention, which reads a few kilobytes here and there.
pub(crate) const HUGE: usize = 2 << 20;
/// Smaller ones share a map of this size, but for those below [`SMALL`].
const CHUNK: usize = 16 << 20;
const SMALL: usize = 64 << 10;
/// Maps that are kept for soups to come when the last soup in them is gone.
const SPARES: usize = 8;

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
    Part(Part),
}

impl Lines {
    /// Room for `len` lines that live as long as a model: they may share a map with others.
    ///
    /// # Panics
    /// When the system has no memory left, as any allocation.
    pub(crate) fn new(len: usize) -> Self {
        let bytes = len * size_of::<Line>();
        if (SMALL..HUGE).contains(&bytes) && !cfg!(miri) { Self::Part(Part::new(len)) } else { Self::apart(len) }
    }

    /// Room for `len` lines whose memory is given back when they are dropped.
    ///
    /// # Panics
    /// As [`Self::new`].
    pub(crate) fn apart(len: usize) -> Self {
        let bytes = len * size_of::<Line>();
        if bytes < HUGE || cfg!(miri) { Self::Owned(vec![Line::ZERO; len]) } else { Self::Mapped(map(bytes)) }
    }

    pub(crate) fn as_slice(&self) -> &[Line] {
        match self {
            Self::Owned(lines) => lines,
            // SAFETY: a map begins on a page, so it is aligned; its length was a whole number of lines; any bytes are a line.
            Self::Mapped(map) => unsafe {
                std::slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<Line>())
            },
            // SAFETY: inside the chunk, and no other part has these lines.
            Self::Part(part) => unsafe { std::slice::from_raw_parts(part.start, part.len) },
        }
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [Line] {
        match self {
            Self::Owned(lines) => lines,
            // SAFETY: as above, and the map is borrowed exclusively.
            Self::Mapped(map) => unsafe {
                std::slice::from_raw_parts_mut(map.as_mut_ptr().cast(), map.len() / size_of::<Line>())
            },
            // SAFETY: as above, and the part is borrowed exclusively.
            Self::Part(part) => unsafe { std::slice::from_raw_parts_mut(part.start, part.len) },
        }
    }
}

impl std::fmt::Debug for Lines {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} lines", self.as_slice().len())
    }
}

/// Lines of a chunk, one after the other; the chunk goes with the last of its parts.
pub(crate) struct Part {
    start: *mut Line,
    len: usize,
    _chunk: Arc<Chunk>,
}

// SAFETY: no other part has its lines, and they may be read and written by any thread.
unsafe impl Send for Part {}
// SAFETY: as above.
unsafe impl Sync for Part {}

/// A map that smaller buffers share: each alone would lie on small pages.
struct Chunk(Option<MmapMut>);

/// A merge needs as much memory as a soup that has just left the cache had. Clearing that is several times as fast as asking
/// the system for new pages, which it clears too: that was a third of a merge.
static SPARE: Mutex<Vec<MmapMut>> = Mutex::new(Vec::new());

impl Drop for Chunk {
    fn drop(&mut self) {
        let mut spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner);
        if spare.len() < SPARES {
            spare.extend(self.0.take());
        }
    }
}

/// The chunk that is being filled, its first free line and how many there are.
struct Open {
    chunk: Weak<Chunk>,
    free: *mut Line,
    len: usize,
    /// Whether others had it before.
    used: bool,
}

// SAFETY: stands for lines of the chunk that nobody has.
unsafe impl Send for Open {}

static OPEN: Mutex<Option<Open>> = Mutex::new(None);

impl Part {
    fn new(len: usize) -> Self {
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let room = open.take().filter(|open| open.len >= len).and_then(|open| Some((open.chunk.upgrade()?, open)));
        let (chunk, found) = room.unwrap_or_else(|| {
            let spare = SPARE.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let used = spare.is_some();
            let mut map = spare.unwrap_or_else(|| map(CHUNK));
            let (free, len) = (map.as_mut_ptr().cast(), CHUNK / size_of::<Line>());
            let chunk = Arc::new(Chunk(Some(map)));
            let open = Open { chunk: Arc::downgrade(&chunk), free, len, used };
            (chunk, open)
        });
        let Open { free, used, .. } = found;
        *open = Some(Open { free: free.wrapping_add(len), len: found.len - len, ..found });
        drop(open);
        if used {
            // SAFETY: lines of the chunk that no other part has; all bits zero are a line.
            unsafe { free.write_bytes(0, len) };
        }
        Self { start: free, len, _chunk: chunk }
    }
}

fn map(bytes: usize) -> MmapMut {
    let map = MmapMut::map_anon(bytes).expect("memory for weights");
    // Only advice: without huge pages all works, a little slower.
    #[cfg(target_os = "linux")]
    let _ = map.advise(memmap2::Advice::HugePage);
    map
}
